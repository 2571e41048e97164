// Bytes of a grpc-web-text request through base64 and the frame decoder: what comes out does not depend on how it was
// cut, the counter agrees with the decoder, and encoding what was decoded decodes to the same.
#include <cstdint>
#include <string>

#include "fuzz/check.h"
#include "http/base64.h"
#include "http/grpc_frame.h"

using namespace millrace;

namespace {

struct Outcome {
  bool base64 = true, frames = true;
  std::string bytes, messages;
  uint64_t whole = 0, begun = 0;
};

Outcome run(std::string_view text, size_t step) {
  Outcome out;
  http::Base64Decoder base64;
  http::GrpcFrameDecoder frames(1 << 16, http::kGrpcCompressed | http::kGrpcWebTrailers);
  http::GrpcMessageCounter counter;
  http::GrpcMessage message;
  for (size_t at = 0; at < text.size(); at += step) {
    base::Buffer piece, bytes;
    piece.append(text.substr(at, step));
    out.base64 = base64.feed(piece, bytes);
    if (!out.base64) break;  // how far it got before depends on the cut
    out.bytes += bytes.to_string();
    counter.feed(bytes);
    while (out.frames) {
      const base::Result<bool> got = frames.next(bytes, message);
      out.frames = got.ok();
      if (!out.frames || !*got) break;
      ++out.whole;
      out.messages += message.bytes.to_string() + "|";
    }
  }
  out.base64 = out.base64 && base64.complete();
  out.begun = counter.messages();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = run(text, SIZE_MAX / 2), cut = run(text, data[0] % 7 + 1u);
  FUZZ_CHECK(whole.base64 == cut.base64, "base64");
  if (!whole.base64) return 0;
  FUZZ_CHECK(whole.bytes == cut.bytes && whole.frames == cut.frames && whole.messages == cut.messages, whole.bytes);
  if (whole.frames) FUZZ_CHECK(whole.begun == whole.whole || whole.begun == whole.whole + 1, whole.bytes);
  base::Buffer bytes, again;
  bytes.append(whole.bytes);
  http::append_base64(bytes, again);
  std::string back;
  FUZZ_CHECK(http::decode_base64(again.to_string(), &back) && back == whole.bytes, whole.bytes);
  return 0;
}
