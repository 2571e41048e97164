// JsonTranscoding on protobuf's descriptors and JSON: which HTTP request is which gRPC method, by the google.api.http
// options of the methods (google/api/http.proto), and the bodies both ways. Made on the main thread, immutable, shared
// by the workers.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "filter/json_transcoding.h"
#include "transcode/messages.h"
#include "transcode/path_template.h"

namespace millrace::transcode {

struct EngineOptions {
  std::string descriptor_set;  // serialized
  std::vector<std::string> services;
  JsonOptions json;
  bool stream_newline_delimited = false;
  bool auto_mapping = false;
  std::vector<std::string> ignored_query_parameters;
  bool ignore_unknown_query_parameters = false;
  bool query_param_unescape_plus = false;
  UrlUnescape url_unescape = UrlUnescape::kAllButReserved;
  bool match_unregistered_custom_verb = false;
  bool reject_binding_body_field_collisions = false;
  size_t stream_message_bytes_max = 4 << 20;  // of the JSON of one message, when the client streams
};

base::Result<std::shared_ptr<const filter::JsonTranscoding>> make_engine(EngineOptions options);

}  // namespace millrace::transcode
