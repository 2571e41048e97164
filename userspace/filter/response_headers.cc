#include "filter/response_headers.h"

namespace millrace::filter {

using http::Header;

namespace {

void trim(std::string_view& token) {
  while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) token.remove_prefix(1);
  while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) token.remove_suffix(1);
}

// What Connection may not take away, however it names it.
bool essential(std::string_view name) {
  return name.front() == ':' || name == "host" || name == "content-length" || name == "connection" || name == "close" ||
         name == "upgrade" || name == "keep-alive" || name.starts_with("x-forwarded-");
}

void remove_nominated(http::HeaderMap& headers, std::string_view connection) {
  while (!connection.empty()) {
    const size_t comma = connection.find(',');
    std::string_view token = connection.substr(0, comma);
    connection.remove_prefix(comma == std::string_view::npos ? connection.size() : comma + 1);
    trim(token);
    if (token.empty() || token.size() > 64) continue;
    char lower[64];
    for (size_t i = 0; i < token.size(); ++i) {
      lower[i] = token[i] >= 'A' && token[i] <= 'Z' ? static_cast<char>(token[i] + 32) : token[i];
    }
    const std::string_view name(lower, token.size());
    if (!essential(name)) headers.remove(name);
  }
}

}  // namespace

void remove_hop_by_hop(http::HeaderMap& headers, bool keep_upgrade) {
  if (headers.has(Header::kConnection)) {
    headers.for_each([&](const http::HeaderMap::Entry& e) {  // removing leaves the entries in their place
      if (e.id == Header::kConnection) remove_nominated(headers, e.value);
    });
    headers.remove(Header::kConnection);
  }
  if (keep_upgrade) {
    headers.add_view(Header::kConnection, "upgrade");
  } else {
    headers.remove(Header::kUpgrade);
  }
  headers.remove(Header::kKeepAlive);
  headers.remove(Header::kProxyConnection);
  headers.remove(Header::kTransferEncoding);
  headers.remove(Header::kHttp2Settings);
  if (headers.has(Header::kTe)) {
    bool trailers = false;
    headers.for_each([&](const http::HeaderMap::Entry& e) {
      trailers |= e.id == Header::kTe && http::list_has_token(e.value, "trailers");
    });
    headers.remove(Header::kTe);
    if (trailers) headers.add_view(Header::kTe, "trailers");
  }
}

void prepare_response_headers(http::HeaderMap& headers, const HcmOptions& options, const ResponseFacts& facts) {
  remove_hop_by_hop(headers, facts.upgrade);
  if (options.always_set_request_id_in_response && !facts.request_id.empty()) {
    headers.set(Header::kRequestId, facts.request_id);
  }
  if (!options.via.empty()) headers.append(Header::kVia, options.via, ", ");
  if (facts.local_reply || !headers.has(Header::kDate)) headers.set(Header::kDate, facts.date);
  switch (options.server_header_transformation) {
    case ServerHeader::kOverwrite: headers.set_view(Header::kServer, options.server_name); break;
    case ServerHeader::kAppendIfAbsent:
      if (!headers.has(Header::kServer)) headers.add_view(Header::kServer, options.server_name);
      break;
    case ServerHeader::kPassThrough: break;
  }
}

}  // namespace millrace::filter
