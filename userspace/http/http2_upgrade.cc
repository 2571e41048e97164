#include "http/http2_upgrade.h"

namespace millrace::http {

void request_from_extended_connect(HeaderMap& request) {
  request.set(Header::kUpgrade, request.get(Header::kProtocol));
  request.set_view(Header::kConnection, "upgrade");
  request.set_view(Header::kMethod, "GET");
  request.remove(Header::kProtocol);
}

bool request_to_extended_connect(HeaderMap& request) {
  if (!request.has(Header::kUpgrade) || request.get(Header::kMethod) == "CONNECT") return false;
  request.set(Header::kProtocol, request.get(Header::kUpgrade));
  request.set_view(Header::kMethod, "CONNECT");
  request.remove(Header::kUpgrade);
  request.remove(Header::kConnection);
  request.remove(Header::kContentLength);
  return true;
}

void response_to_extended_connect(HeaderMap& response) {
  if (response.get(Header::kStatus) != "101") return;
  response.set_view(Header::kStatus, "200");
  response.remove(Header::kUpgrade);
  response.remove(Header::kConnection);
  response.remove(Header::kContentLength);
}

void response_from_extended_connect(HeaderMap& response, std::string_view protocol) {
  if (response.get(Header::kStatus) != "200") return;
  response.set_view(Header::kStatus, "101");
  response.set(Header::kUpgrade, protocol);
  response.set_view(Header::kConnection, "upgrade");
}

}  // namespace millrace::http
