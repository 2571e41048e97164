// The gRPC status of a finished exchange: from the trailers, else from the headers (a trailers-only response), else
// what the HTTP status means to a gRPC client (grpc/doc/http-grpc-status-mapping.md). Plain functions, any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/header_map.h"

namespace millrace::stream {

inline constexpr int64_t kGrpcOk = 0;
inline constexpr int64_t kGrpcUnknown = 2;
inline constexpr int64_t kGrpcDeadlineExceeded = 4;
inline constexpr int64_t kGrpcResourceExhausted = 8;
inline constexpr int64_t kGrpcInvalidCode = -1;  // grpc-status is there, and is no number

// Whether content-type says so: application/grpc, alone or with a "+suffix".
bool is_grpc_request(const http::HeaderMap* request_headers);
// Any map may be null; response_code 0: no response.
std::optional<int64_t> grpc_status(const http::HeaderMap* trailers, const http::HeaderMap* headers,
                                   uint16_t response_code);
// What an HTTP status means to a gRPC client, and what a gRPC status is to an HTTP client (google.rpc.Code).
int64_t grpc_status_of_http(uint16_t response_code);
uint16_t http_status_of_grpc(int64_t status);
// A grpc-message on the wire: percent-encoded (PROTOCOL-HTTP2.md, "Status-Message"), and back; ill-formed escapes stay.
std::string grpc_message_encoded(std::string_view text);
std::string grpc_message_decoded(std::string_view text);
// "InvalidArgument" and "INVALID_ARGUMENT"; empty for a code that has no name.
std::string_view grpc_camel_name(int64_t status);
std::string_view grpc_snake_name(int64_t status);

}  // namespace millrace::stream
