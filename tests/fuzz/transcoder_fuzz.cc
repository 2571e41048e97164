// Targets and JSON bodies into the transcoder, and messages of an upstream back out of it: whatever comes, it answers
// or refuses, and what it sends are whole gRPC frames.
#include <cstdint>
#include <string>

#include "fuzz/check.h"
#include "http/base64.h"
#include "http/grpc_frame.h"
#include "transcode/engine.h"

using namespace millrace;

namespace {

// greeter.proto of config/examples/grpc.yaml, with methods that no annotation binds mapped by their names.
const filter::JsonTranscoding& engine() {
  static const std::shared_ptr<const filter::JsonTranscoding> engine = [] {
    transcode::EngineOptions options;
    FUZZ_CHECK(http::decode_base64(
    "CtoCCg1ncmVldGVyLnByb3RvEgdncmVldGVyGhxnb29nbGUvYXBpL2Fubm90YXRpb25zLnByb3RvIjgKDEhlbGxvUmVxdWVzdBIS"
    "CgRuYW1lGAEgASgJUgRuYW1lEhQKBXRpbWVzGAIgASgFUgV0aW1lcyIgCgpIZWxsb1JlcGx5EhIKBHRleHQYASABKAlSBHRleHQy"
    "vQEKB0dyZWV0ZXISYAoIU2F5SGVsbG8SFS5ncmVldGVyLkhlbGxvUmVxdWVzdBoTLmdyZWV0ZXIuSGVsbG9SZXBseSIogtPkkwIi"
    "EhAvdjEvaGVsbG8ve25hbWV9Wg4iCS92MS9oZWxsbzoBKhJQCgdTYXlNYW55EhUuZ3JlZXRlci5IZWxsb1JlcXVlc3QaEy5ncmVl"
    "dGVyLkhlbGxvUmVwbHkiF4LT5JMCERIPL3YxL21hbnkve25hbWV9MAFiBnByb3RvMw==",
        &options.descriptor_set), "the descriptor set");
    options.services = {"greeter.Greeter"};
    options.auto_mapping = options.ignore_unknown_query_parameters = true;
    auto made = transcode::make_engine(std::move(options));
    FUZZ_CHECK(made.ok(), "the engine");
    return *made;
  }();
  return *engine;
}

// The frames of a request, or nothing when it is refused.
std::string request(std::string_view method, std::string_view target, std::string_view body) {
  const auto match = engine().match(method, target, "a/b");
  if (match.call == nullptr) return {};
  base::Buffer in, out;
  in.append(body);
  if (!match.call->request(in, true, out).ok()) return {};
  std::string frames = out.to_string();
  http::GrpcFrameDecoder decoder;
  http::GrpcMessage message;
  while (*decoder.next(out, message)) {}
  FUZZ_CHECK(decoder.at_boundary(), frames);
  return frames;
}

}  // namespace

// "GET /path\nbody"; the body is also a message from upstream.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view line = text.substr(0, text.find('\n'));
  const std::string_view body = line.size() < text.size() ? text.substr(line.size() + 1) : std::string_view{};
  const std::string_view method = line.substr(0, line.find(' '));
  const std::string_view target = method.size() < line.size() ? line.substr(method.size() + 1) : std::string_view{};
  request(method, target, body);
  const auto match = engine().match(method, target, "");
  if (match.call == nullptr) return 0;
  http::GrpcMessage message;
  message.bytes.append(body);
  base::Buffer out;
  if (match.call->response(message, out).ok()) match.call->response_end(out);
  match.call->status(2, body, body);
  return 0;
}
