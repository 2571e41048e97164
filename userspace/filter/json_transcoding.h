// What grpc_json_transcoder needs of a translator between HTTP with JSON and gRPC; the room `transcode` has one. The
// transcoding is part of the Snapshot, immutable and shared; a call is one stream's, on its thread. Sans-IO: bytes in,
// bytes out. What is wrong is the client's fault (answered with 400) in a request, the upstream's in a response.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/result.h"
#include "http/grpc_frame.h"

namespace millrace::filter {

class TranscodedCall {
 public:
  virtual ~TranscodedCall() = default;
  virtual std::string_view grpc_path() const = 0;  // "/package.Service/Method"; lives as long as the transcoding
  virtual bool client_streaming() const = 0;
  virtual bool server_streaming() const = 0;
  // Takes all of body, which is the whole when the client does not stream, and appends gRPC frames. end: nothing
  // follows.
  virtual base::Result<void> request(base::Buffer& body, bool end, base::Buffer& grpc) = 0;
  // A message of the response; what it becomes is appended to body.
  virtual base::Result<void> response(http::GrpcMessage& message, base::Buffer& body) = 0;
  // After the last message: the end of an array.
  virtual void response_end(base::Buffer& body) = 0;
  // Of the response; final once it ended, or its first message was seen.
  virtual std::string_view content_type() const = 0;
  // The response carries bodies of any type (google.api.HttpBody), which their first message names.
  virtual bool raw_response() const = 0;
  // A google.rpc.Status as JSON, from grpc-status-details-bin (decoded) if that is not empty. Empty: it cannot be
  // expressed, some type is unknown.
  virtual std::string status(int64_t code, std::string_view message, std::string_view details) const = 0;
};

class JsonTranscoding {
 public:
  virtual ~JsonTranscoding() = default;

  enum class Answer : uint8_t {
    kCall,
    kUnknown,     // no method is bound to this: the request passes as it is, or is refused
    kBadRequest,  // refused, `what` says why
  };
  struct Match {
    Answer answer = Answer::kUnknown;
    std::unique_ptr<TranscodedCall> call;
    std::string what;
    bool unknown_parameter = false;  // kUnknown: because of a query parameter
  };
  // target: with its query. content_type: the request's, which messages that carry raw bodies tell.
  virtual Match match(std::string_view method, std::string_view target, std::string_view content_type) const = 0;
};

}  // namespace millrace::filter
