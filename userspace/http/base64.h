// Base64 (RFC 4648 section 4) of streams. Sans-IO, any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/buffer.h"

namespace millrace::http {

// Appends the padded encoding of all of `bytes`, which is emptied.
void append_base64(base::Buffer& bytes, base::Buffer& out);

// Decodes what comes in pieces. Padding may stand at the end of any group of four, for senders that encode piece by
// piece (the grpc-web-text protocol).
class Base64Decoder {
 public:
  // Takes all of `text`; false: not base64, which is final.
  bool feed(base::Buffer& text, base::Buffer& out);
  // Whether the text may end here.
  bool complete() const { return digits_ == 0 && padding_ == 0; }
  void reset() { *this = Base64Decoder(); }

 private:
  bool digit(uint8_t c, char*& out);

  uint32_t group_ = 0;
  uint8_t digits_ = 0;
  uint8_t padding_ = 0;
};

// One whole text; padding may be left out. False: not base64.
bool decode_base64(std::string_view text, std::string* out);

}  // namespace millrace::http
