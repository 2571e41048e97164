// A normalised path is its own normal form, begins with one slash, has no dot segments left, and is no longer than
// the path was; the quick test for paths that need no work agrees with the work.
#include <cstdint>

#include "fuzz/check.h"
#include "http/path.h"

using namespace millrace::http;

namespace {

std::string normalized(std::string_view path, bool& refused) {
  std::string out(path.size() + 1, '!');
  const char* end = normalize_path(path, out.data());
  refused = end == nullptr;
  if (!refused) out.resize(static_cast<size_t>(end - out.data()));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view whole(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view path = path_without_query(whole);
  bool refused = false;
  const std::string once = normalized(path, refused);
  if (!refused) {
    const std::string twice = normalized(once, refused);
    FUZZ_CHECK(!refused && twice == once, "once: " + once + "\ntwice: " + twice);
    FUZZ_CHECK(once.starts_with('/'), once);
    FUZZ_CHECK(once.find('\\') == std::string::npos, once);
    const std::string closed = once + "/";
    FUZZ_CHECK(closed.find("/./") == std::string::npos && closed.find("/../") == std::string::npos, once);
  }
  PathOptions options;
  options.normalize = (data[0] & 1) != 0;
  options.merge_slashes = (data[0] & 2) != 0;
  options.escaped_slashes = static_cast<EscapedSlashes>(data[0] >> 2 & 3);
  HeaderMap map;
  map.add(Header::kPath, whole);
  const PathVerdict verdict = normalize_path(map, options);
  const std::string result(map.get(Header::kPath));
  if (verdict != PathVerdict::kReject && whole != "*" && !whole.empty()) {
    const std::string_view query = whole.substr(path.size());
    FUZZ_CHECK(result.ends_with(query), result);
    if (options.normalize && options.escaped_slashes == EscapedSlashes::kKeep && !options.merge_slashes) {
      FUZZ_CHECK(result == once + std::string(query), result);
    }
    if (options.merge_slashes) FUZZ_CHECK(path_without_query(result).find("//") == std::string::npos, result);
  }
  const std::string text(whole);
  FUZZ_CHECK(percent_decode(percent_encode(text)) == text, text);
  for_each_query_parameter(whole, [](std::string_view, std::string_view) {});
  return 0;
}
