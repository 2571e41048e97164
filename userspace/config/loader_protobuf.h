// Configurations that are protobuf already: .pb (wire format, no places) and .pb_text (text format, with
// lines).
#pragma once
#include <string_view>

#include "config/api_pool.h"
#include "config/diagnostics.h"

namespace google::protobuf {
class Message;
}

namespace millrace::config {

void read_protobuf(std::string_view bytes, uint16_t file, google::protobuf::Message& message,
                   Diagnostics& diagnostics);
void read_protobuf_text(std::string_view text, uint16_t file, bool allow_unknown_fields, const ApiPool& types,
                        google::protobuf::Message& message, Positions& positions, Diagnostics& diagnostics);

}  // namespace millrace::config
