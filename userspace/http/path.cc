#include "http/path.h"

#include <cstring>

#include "http/chars.h"

namespace millrace::http {
namespace {

bool is_slash(char c) { return c == '/' || c == '\\'; }

// The byte that the escape at text[i] stands for; negative when there is no well-formed one.
int escaped_byte(std::string_view text, size_t i) {
  if (text.size() - i < 3 || text[i] != '%' || !chars::is(text[i + 1], chars::kHex) ||
      !chars::is(text[i + 2], chars::kHex)) {
    return -1;
  }
  return static_cast<int>(chars::hex_value(text[i + 1]) << 4 | chars::hex_value(text[i + 2]));
}

// Undoes %2F and %5C; the end of the result.
char* unescape_slashes(std::string_view path, char* out) {
  for (size_t i = 0; i < path.size();) {
    const int byte = escaped_byte(path, i);
    if (byte == '/' || byte == '\\') {
      *out++ = static_cast<char>(byte);
      i += 3;
    } else {
      *out++ = path[i++];
    }
  }
  return out;
}

bool has_escaped_slash(std::string_view path) {
  for (size_t i = path.find('%'); i != std::string_view::npos; i = path.find('%', i + 1)) {
    const int byte = escaped_byte(path, i);
    if (byte == '/' || byte == '\\') return true;
  }
  return false;
}

// Whether the path is its own normal form for sure, so that most requests copy nothing.
bool plainly_normal(std::string_view path) {
  if (path.empty() || path[0] != '/') return false;
  char previous = 0;
  for (char c : path) {
    if (c == '%' || c == '\\' || (c == '.' && previous == '/')) return false;
    previous = c;
  }
  return true;
}

// Removes the dot segment that [begin, out) ends with, if it does; begin[0] is '/'. A dot segment at the very end
// leaves its slash.
char* close_segment(char* begin, char* out) {
  if (out - begin >= 2 && out[-1] == '.' && out[-2] == '/') return out - 2;
  if (out - begin >= 3 && out[-1] == '.' && out[-2] == '.' && out[-3] == '/') {
    out -= 3;
    while (out > begin && out[-1] != '/') --out;
    return out > begin ? out - 1 : out;
  }
  return out;
}

size_t merge_slashes(char* path, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; ++i) {
    if (path[i] == '/' && n > 0 && path[n - 1] == '/') continue;
    path[n++] = path[i];
  }
  return n;
}

}  // namespace

char* normalize_path(std::string_view path, char* const begin) {
  char* out = begin;
  *out++ = '/';
  for (size_t i = !path.empty() && is_slash(path[0]) ? 1 : 0; i < path.size();) {
    char c = path[i];
    if (is_slash(c)) {
      out = close_segment(begin, out);
      *out++ = '/';
      ++i;
      continue;
    }
    const int byte = escaped_byte(path, i);
    if (byte == 0) return nullptr;
    // After a stray '%' an undone escape could complete another one: it stays.
    const bool after_stray = out[-1] == '%' || (out - begin >= 2 && out[-2] == '%');
    if (byte > 0 && !after_stray && chars::is(static_cast<char>(byte), chars::kUnreserved)) {
      *out++ = static_cast<char>(byte);
      i += 3;
    } else if (byte > 0) {
      std::memcpy(out, path.data() + i, 3);
      out += 3;
      i += 3;
    } else {
      *out++ = c;
      ++i;
    }
  }
  char* const end = close_segment(begin, out);
  if (end != out) {
    out = end;
    *out++ = '/';
  }
  return out;
}

PathVerdict normalize_path(HeaderMap& headers, const PathOptions& options) {
  const std::string_view whole = headers.get(Header::kPath);
  if (whole.empty() || whole == "*") return PathVerdict::kOk;
  std::string_view path = path_without_query(whole);
  const std::string_view rest = whole.substr(path.size());
  bool unescape = false;
  if (options.escaped_slashes != EscapedSlashes::kKeep && has_escaped_slash(path)) {
    if (options.escaped_slashes == EscapedSlashes::kReject) return PathVerdict::kReject;
    unescape = true;
  }
  const bool normalize = options.normalize && !(plainly_normal(path) && !unescape);
  const bool merge = options.merge_slashes && (unescape || normalize || path.find("//") != std::string_view::npos);
  if (!unescape && !normalize && !merge) return PathVerdict::kOk;

  if (unescape) {
    char* copy = headers.allocate(path.size());
    path = {copy, static_cast<size_t>(unescape_slashes(path, copy) - copy)};
  }
  char* const out = headers.allocate(path.size() + 1 + rest.size());
  size_t n = path.size();
  if (normalize) {
    const char* end = normalize_path(path, out);
    if (end == nullptr) return PathVerdict::kReject;
    n = static_cast<size_t>(end - out);
  } else {
    std::memcpy(out, path.data(), n);
  }
  if (merge) n = merge_slashes(out, n);
  if (!rest.empty()) std::memcpy(out + n, rest.data(), rest.size());
  headers.replace_view(Header::kPath, {out, n + rest.size()});
  return unescape && options.escaped_slashes == EscapedSlashes::kUnescapeAndRedirect ? PathVerdict::kRedirect
                                                                                    : PathVerdict::kOk;
}

std::string_view path_without_query(std::string_view path) { return path.substr(0, path.find_first_of("?#")); }

std::string_view query_of(std::string_view path) {
  path = path.substr(0, path.find('#'));
  const size_t mark = path.find('?');
  return mark == std::string_view::npos ? std::string_view{} : path.substr(mark + 1);
}

std::optional<std::string_view> query_parameter(std::string_view path, std::string_view name) {
  std::optional<std::string_view> found;
  for_each_query_parameter(path, [&](std::string_view key, std::string_view value) {
    if (!found && key == name) found = value;
  });
  return found;
}

namespace {

template <class Plain>
std::string encode(std::string_view bytes, Plain&& plain) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(bytes.size());
  for (char c : bytes) {
    if (plain(c)) {
      out += c;
      continue;
    }
    const unsigned byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

}  // namespace

std::string percent_encode(std::string_view bytes, std::string_view reserved) {
  return encode(bytes, [&](char c) { return c >= ' ' && c <= '~' && reserved.find(c) == std::string_view::npos; });
}

std::string percent_encode_component(std::string_view bytes) {
  return encode(bytes, [](char c) { return chars::is(c, chars::kUnreserved); });
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const int byte = escaped_byte(text, i);
    out += byte < 0 ? text[i] : static_cast<char>(byte);
    i += byte < 0 ? 1 : 3;
  }
  return out;
}

}  // namespace millrace::http
