// A switch of protocols (WebSocket) as HTTP/1 and as HTTP/2 say it (RFC 8441): GET with Upgrade and 101, or CONNECT
// with :protocol and 200. Inside, Millrace has it as HTTP/1 does, whatever the two connections speak. Pure functions on
// header maps.
#pragma once
#include "http/header_map.h"

namespace millrace::http {

inline bool is_extended_connect(const HeaderMap& request) { return request.has(Header::kProtocol); }
void request_from_extended_connect(HeaderMap& request);
// False: it is not an upgrade. The body of the CONNECT is the switched protocol: nothing is left of the request's own.
bool request_to_extended_connect(HeaderMap& request);

// The answer to one: 101 <-> 200. Others pass as they are.
void response_to_extended_connect(HeaderMap& response);
void response_from_extended_connect(HeaderMap& response, std::string_view protocol);

}  // namespace millrace::http
