// Operators over the messages: headers, path, query, gRPC status.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/hex.h"
#include "stream/format_program.h"
#include "stream/grpc_status.h"

namespace millrace::stream::detail {
namespace {

using http::Header;
using http::HeaderMap;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::optional<std::string_view> find(const HeaderMap* map, Header id, const std::string& name) {
  if (map == nullptr) return std::nullopt;
  if (id != Header::kOther) {
    if (!map->has(id)) return std::nullopt;
    return map->get(id);
  }
  if (name.empty() || !map->has(name)) return std::nullopt;
  return map->get(name);
}

std::optional<std::string_view> find(const HeaderMap* map, const Element& element) {
  if (const auto value = find(map, element.header, element.text)) return value;
  return find(map, element.alternative_header, element.alternative);
}

bool append_found(std::optional<std::string_view> value, std::string& out) {
  if (!value.has_value()) return false;
  out += *value;
  return true;
}

template <const HeaderMap* FormatContext::*Map>
bool append_header(const Element& element, const FormatContext& context, std::string& out) {
  return append_found(find(context.*Map, element), out);
}

template <const HeaderMap* FormatContext::*Map>
bool append_header_bytes(const Element&, const FormatContext& context, std::string& out) {
  const HeaderMap* map = context.*Map;
  append_number(map == nullptr ? 0 : map->byte_size(), out);
  return true;
}

std::string_view without_query(std::string_view path) { return path.substr(0, path.find_first_of("?#")); }

bool append_header_without_query(const Element& element, const FormatContext& context, std::string& out) {
  const auto value = find(context.request_headers, element);
  if (value.has_value()) out += without_query(*value);
  return value.has_value();
}

base::Result<void> set_header(std::string_view given, Header& id, std::string& name) {
  name = lower(given);
  if (!http::valid_name(given.starts_with(':') ? given.substr(1) : given)) {
    return argument_error(fmt::format("\"{}\" is no header name", given));
  }
  // HTTP/1's Host arrives as :authority.
  if (name == "host") name = ":authority";
  id = http::header_id(name);
  return {};
}

base::Result<void> configure_header(std::string_view argument, Element& element) {
  const size_t question = argument.find('?');
  base::Result<void> done = set_header(argument.substr(0, question), element.header, element.text);
  if (!done.ok() || question == std::string_view::npos) return done;
  const std::string_view alternative = argument.substr(question + 1);
  if (alternative.find('?') != std::string_view::npos) {
    return argument_error("has more than one alternative header");
  }
  if (alternative.empty()) return {};
  return set_header(alternative, element.alternative_header, element.alternative);
}

// ---- path and query

enum PathSource : uint8_t { kOriginalOrPath, kOriginal, kPathOnly };

std::optional<std::string_view> path_of(const FormatContext& context, uint8_t source) {
  const HeaderMap* headers = context.request_headers;
  if (headers == nullptr) return std::nullopt;
  if (source != kPathOnly && headers->has(Header::kEnvoyOriginalPath)) return headers->get(Header::kEnvoyOriginalPath);
  if (source != kOriginal && headers->has(Header::kPath)) return headers->get(Header::kPath);
  return std::nullopt;
}

// option: PathSource; option_2: whether the query is left out.
bool append_path(const Element& element, const FormatContext& context, std::string& out) {
  const auto path = path_of(context, element.option);
  if (!path.has_value()) return false;
  out += element.option_2 != 0 ? without_query(*path) : *path;
  return true;
}

base::Result<void> configure_path(std::string_view argument, Element& element) {
  const size_t colon = argument.find(':');
  const std::string_view query = argument.substr(0, colon);
  const std::string_view source = colon == std::string_view::npos ? "" : argument.substr(colon + 1);
  if (!query.empty() && query != "WQ" && query != "NQ") {
    return argument_error(fmt::format("\"{}\" must be WQ (with query) or NQ (no query)", query));
  }
  element.option_2 = query == "NQ" ? 1 : 0;
  if (source == "ORIG") {
    element.option = kOriginal;
  } else if (source == "PATH") {
    element.option = kPathOnly;
  } else if (!source.empty() && source != "ORIG_OR_PATH") {
    return argument_error(fmt::format("\"{}\" must be ORIG, PATH or ORIG_OR_PATH", source));
  }
  return {};
}

// Leaves what is no valid escape as it is, and any escape of a control byte: the text may go into a header or a log.
void append_decoded(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? base::hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? base::hex_digit(text[i + 2]) : -1;
    const int byte = high * 16 + low;
    if (high < 0 || low < 0 || byte < 0x20 || byte == 0x7f) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
}

std::optional<std::string_view> query_of(const FormatContext& context) {
  const auto path = path_of(context, kPathOnly);
  const size_t question = path.has_value() ? path->find('?') : std::string_view::npos;
  if (question == std::string_view::npos) return std::nullopt;
  const std::string_view query = path->substr(question + 1);
  return query.substr(0, query.find('#'));
}

// option: whether it is decoded.
bool append_query(const Element& element, const FormatContext& context, std::string& out) {
  const auto query = query_of(context);
  if (!query.has_value()) return false;
  if (element.option != 0) {
    append_decoded(*query, out);
  } else {
    out += *query;
  }
  return true;
}

base::Result<void> configure_query(std::string_view argument, Element& element) {
  if (!argument.empty() && argument != "ORIG" && argument != "DECODED") {
    return argument_error(fmt::format("\"{}\" must be ORIG or DECODED", argument));
  }
  element.option = argument == "DECODED" ? 1 : 0;
  return {};
}

bool append_query_parameter(const Element& element, const FormatContext& context, std::string& out) {
  std::string_view query = query_of(context).value_or("");
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) != element.text) continue;
    if (equals != std::string_view::npos) append_decoded(pair.substr(equals + 1), out);
    return true;
  }
  return false;
}

base::Result<void> keep_argument(std::string_view argument, Element& element) {
  element.text = argument;
  return {};
}

// ---- SNI, with the host as a fallback

enum NameSource : uint8_t { kSniOnly, kSniFirst, kHostFirst };
enum HostSource : uint8_t { kOriginalOrHost, kOriginalHost, kHostOnly };

std::string_view host_of(const FormatContext& context, uint8_t source) {
  const HeaderMap* headers = context.request_headers;
  if (headers == nullptr) return {};
  const std::string_view original = source != kHostOnly ? headers->get(Header::kEnvoyOriginalHost) : "";
  if (!original.empty() || source == kOriginalHost) return original;
  return headers->get(Header::kAuthority);
}

// option: NameSource; option_2: HostSource.
bool append_server_name(const Element& element, const FormatContext& context, std::string& out) {
  const ConnectionInfo* connection = context.info->connection;
  const std::string_view sni = connection != nullptr ? std::string_view(connection->requested_server_name) : "";
  const std::string_view host = element.option != kSniOnly ? host_of(context, element.option_2) : "";
  const std::string_view first = element.option == kHostFirst ? host : sni;
  const std::string_view second = element.option == kHostFirst ? sni : host;
  out += first.empty() ? second : first;
  return !first.empty() || !second.empty();
}

base::Result<void> configure_server_name(std::string_view argument, Element& element) {
  const size_t colon = argument.find(':');
  const std::string_view names = argument.substr(0, colon);
  const std::string_view hosts = colon == std::string_view::npos ? "" : argument.substr(colon + 1);
  if (names == "SNI_FIRST") {
    element.option = kSniFirst;
  } else if (names == "HOST_FIRST") {
    element.option = kHostFirst;
  } else if (!names.empty() && names != "SNI_ONLY") {
    return argument_error(fmt::format("\"{}\" must be SNI_ONLY, SNI_FIRST or HOST_FIRST", names));
  }
  if (hosts == "ORIG") {
    element.option_2 = kOriginalHost;
  } else if (hosts == "HOST") {
    element.option_2 = kHostOnly;
  } else if (!hosts.empty() && hosts != "ORIG_OR_HOST") {
    return argument_error(fmt::format("\"{}\" must be ORIG, HOST or ORIG_OR_HOST", hosts));
  }
  return {};
}

// ---- gRPC

enum GrpcForm : uint8_t { kCamel, kSnake, kNumber };

bool append_grpc_status(const Element& element, const FormatContext& context, std::string& out) {
  if (!is_grpc_request(context.request_headers)) return false;
  const auto status = grpc_status(context.response_trailers, context.response_headers, context.info->response_code);
  if (!status.has_value()) return false;
  const std::string_view name = element.option == kCamel   ? grpc_camel_name(*status)
                                : element.option == kSnake ? grpc_snake_name(*status)
                                                           : std::string_view();
  if (name.empty()) {
    fmt::format_to(std::back_inserter(out), "{}", *status);
  } else {
    out += name;
  }
  return true;
}

base::Result<void> configure_grpc_status(std::string_view argument, Element& element) {
  if (argument == "SNAKE_STRING") {
    element.option = kSnake;
  } else if (argument == "NUMBER") {
    element.option = kNumber;
    element.type = ValueType::kNumber;
  } else if (!argument.empty() && argument != "CAMEL_STRING") {
    return argument_error(fmt::format("\"{}\" must be CAMEL_STRING, SNAKE_STRING or NUMBER", argument));
  }
  return {};
}

base::Result<void> configure_grpc_number(std::string_view, Element& element) {
  element.option = kNumber;
  return {};
}

bool append_local_reply_body(const Element&, const FormatContext& context, std::string& out) {
  out += context.local_reply_body;
  return true;
}

bool append_log_type(const Element&, const FormatContext& context, std::string& out) {
  out += name(context.log_type);
  return true;
}

constexpr auto kRequest = &append_header<&FormatContext::request_headers>;
constexpr auto kResponse = &append_header<&FormatContext::response_headers>;
constexpr auto kTrailer = &append_header<&FormatContext::response_trailers>;
constexpr ValueType kTextType = ValueType::kText;
constexpr ValueType kNumberType = ValueType::kNumber;

constexpr std::array kOperators = {
    Operator{"REQ", kRequest, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"REQUEST_HEADER", kRequest, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"RESP", kResponse, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"RESPONSE_HEADER", kResponse, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"TRAILER", kTrailer, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"RESPONSE_TRAILER", kTrailer, kTextType, Arguments::kRequired, true, configure_header},
    Operator{"REQ_WITHOUT_QUERY", append_header_without_query, kTextType, Arguments::kRequired, true,
             configure_header},
    Operator{"REQUEST_HEADERS_BYTES", append_header_bytes<&FormatContext::request_headers>, kNumberType},
    Operator{"RESPONSE_HEADERS_BYTES", append_header_bytes<&FormatContext::response_headers>, kNumberType},
    Operator{"RESPONSE_TRAILERS_BYTES", append_header_bytes<&FormatContext::response_trailers>, kNumberType},
    Operator{"PATH", append_path, kTextType, Arguments::kOptional, true, configure_path},
    Operator{"QUERY_PARAM", append_query_parameter, kTextType, Arguments::kRequired, true, keep_argument},
    Operator{"QUERY_PARAMS", append_query, kTextType, Arguments::kOptional, true, configure_query},
    Operator{"REQUESTED_SERVER_NAME", append_server_name, kTextType, Arguments::kOptional, false,
             configure_server_name},
    Operator{"GRPC_STATUS", append_grpc_status, kTextType, Arguments::kOptional, false, configure_grpc_status},
    Operator{"GRPC_STATUS_NUMBER", append_grpc_status, kNumberType, Arguments::kNone, false, configure_grpc_number},
    Operator{"LOCAL_REPLY_BODY", append_local_reply_body},
    Operator{"ACCESS_LOG_TYPE", append_log_type},
};

}  // namespace

std::span<const Operator> message_operators() { return kOperators; }

}  // namespace millrace::stream::detail
