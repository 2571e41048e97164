// The :path of a request: what Envoy's normalize_path, merge_slashes and path_with_escaped_slashes_action do to it, its
// query parameters, percent encoding. Pure functions, any thread; bytes that change go to the arena of the HeaderMap.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/header_map.h"

namespace millrace::http {

enum class EscapedSlashes : uint8_t { kKeep, kReject, kUnescapeAndRedirect, kUnescapeAndForward };

struct PathOptions {
  bool normalize = true;
  bool merge_slashes = false;
  EscapedSlashes escaped_slashes = EscapedSlashes::kKeep;
};

enum class PathVerdict : uint8_t {
  kOk,
  kReject,    // 400: %00, or an escaped slash where those are refused
  kRedirect,  // 307 to what :path now is: escaped slashes were undone
};

// Applies the options to :path, in Envoy's order: escaped slashes, normalisation, merging. Does nothing to "*" and
// where :path is absent. Neither query nor case is touched.
PathVerdict normalize_path(HeaderMap& headers, const PathOptions& options);

// RFC 3986 section 6.2.2: escapes of unreserved characters are undone, dot segments removed, a backslash read as a
// slash (as browsers do), a leading slash added; %00 is refused. Other escapes, well-formed or not, stay as they are.
// Idempotent. `out` has room for path.size() + 1 bytes and may not overlap; the end of the result, or null if refused.
char* normalize_path(std::string_view path_without_query, char* out);

// Path without query and fragment; query without '?' and fragment (empty when there is none).
std::string_view path_without_query(std::string_view path);
std::string_view query_of(std::string_view path);
// First value of the parameter as it stands, undecoded; "" for one without '='; null when absent.
std::optional<std::string_view> query_parameter(std::string_view path, std::string_view name);
// Calls f(name, value) for every parameter, in order, undecoded.
template <class F>
void for_each_query_parameter(std::string_view path, F&& f) {
  std::string_view query = query_of(path);
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    const size_t equals = pair.find('=');
    if (!pair.empty()) {
      f(pair.substr(0, equals), equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1));
    }
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
}

// Escapes controls, bytes above 0x7e, and the characters of `reserved`, in capitals.
std::string percent_encode(std::string_view bytes, std::string_view reserved = "%");
// Escapes all but RFC 3986's unreserved characters.
std::string percent_encode_component(std::string_view bytes);
// Undoes well-formed escapes; others stay.
std::string percent_decode(std::string_view text);

}  // namespace millrace::http
