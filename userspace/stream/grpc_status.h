// The gRPC status of a finished exchange: from the trailers, else from the headers (a trailers-only response), else
// what the HTTP status means to a gRPC client (grpc/doc/http-grpc-status-mapping.md). Plain functions, any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "http/header_map.h"

namespace millrace::stream {

inline constexpr int64_t kGrpcUnknown = 2;
inline constexpr int64_t kGrpcInvalidCode = -1;  // grpc-status is there, and is no number

// Whether content-type says so: application/grpc, alone or with a "+suffix".
bool is_grpc_request(const http::HeaderMap* request_headers);
// Any map may be null; response_code 0: no response.
std::optional<int64_t> grpc_status(const http::HeaderMap* trailers, const http::HeaderMap* headers,
                                   uint16_t response_code);
// "InvalidArgument" and "INVALID_ARGUMENT"; empty for a code that has no name.
std::string_view grpc_camel_name(int64_t status);
std::string_view grpc_snake_name(int64_t status);

}  // namespace millrace::stream
