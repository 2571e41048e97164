#include "http/path.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "http/authority.h"

namespace millrace::http {
namespace {

std::string normalized(std::string_view path) {
  std::string out(path.size() + 1, '!');
  const char* end = normalize_path(path, out.data());
  if (end == nullptr) return "refused";
  out.resize(static_cast<size_t>(end - out.data()));
  return out;
}

// The verdict and the :path after it.
std::string apply(std::string_view path, const PathOptions& options) {
  HeaderMap map;
  map.add(Header::kPath, path);
  const PathVerdict verdict = normalize_path(map, options);
  if (verdict == PathVerdict::kReject) return "reject";
  return std::string(verdict == PathVerdict::kRedirect ? "redirect " : "") + std::string(map.get(Header::kPath));
}

TEST(NormalizePath, RemovesDotSegmentsAndUndoesUnreservedEscapes) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {"/xyz", "/xyz"},
      {"/", "/"},
      {"", "/"},
      {"/a/b/../c", "/a/c"},
      {"/a/b/./c", "/a/b/c"},
      {"a/b/../c", "/a/c"},
      {"/a/b/../../../../c", "/c"},
      {"/a/..\\c", "/c"},
      {"\\a\\b", "/a/b"},
      {"/%c0%af", "/%c0%af"},
      {"/%5c%25", "/%5c%25"},
      {"/a/b/%2E%2e/c", "/a/c"},
      {"/a/b/%2E./c", "/a/c"},
      {"/a/b/%2E/c", "/a/b/c"},
      {"..", "/"},
      {".", "/"},
      {"/..", "/"},
      {"/.", "/"},
      {"/../a/b", "/a/b"},
      {"/./a/b", "/a/b"},
      {"/a/b/..", "/a/"},
      {"/a/b/.", "/a/b/"},
      {"/a/.../b", "/a/.../b"},
      {"/a/.b/..c", "/a/.b/..c"},
      {"/a/b./c../", "/a/b./c../"},
      {"/A/%2F%2f/c", "/A/%2F%2f/c"},
      {"/%41%7e%2D%5F", "/A~-_"},
      {"/a//b", "/a//b"},
      {"/a//../b", "/a/b"},
      {"//..", "/"},
      {"/%", "/%"},
      {"/%4", "/%4"},
      {"/%zz", "/%zz"},
      {"/%%41", "/%%41"},
      {"/%%341", "/%%341"},
      {"/%4%31", "/%4%31"},
      {"/a/%2e%2e%2f", "/a/..%2f"},
  };
  for (const auto& [path, expected] : cases) {
    EXPECT_EQ(normalized(path), expected) << path;
    EXPECT_EQ(normalized(expected), expected) << "again: " << path;
  }
}

TEST(NormalizePath, RefusesEscapedNul) {
  for (std::string_view path : {"/xyz/.%00../abc", "/%00", "/AAAAA%%0000/abc", "/a%"}) {
    EXPECT_EQ(normalized(path) == "refused", path != "/a%") << path;
  }
  EXPECT_EQ(apply("/%00", {}), "reject");
}

TEST(NormalizePath, LeavesTheQueryAlone) {
  EXPECT_EQ(apply("/a/../b?x=/../%41//\\", {true, true, EscapedSlashes::kUnescapeAndForward}), "/b?x=/../%41//\\");
  EXPECT_EQ(apply("/b?/../", {}), "/b?/../");
  EXPECT_EQ(apply("*", {}), "*");
}

TEST(NormalizePath, CopiesNothingThatIsNormal) {
  HeaderMap map;
  const std::string_view path = "/api/v1.2/x?y=%2E";
  map.add_view(Header::kPath, path);
  EXPECT_EQ(normalize_path(map, {true, true, EscapedSlashes::kReject}), PathVerdict::kOk);
  EXPECT_EQ(map.get(Header::kPath).data(), path.data());
}

TEST(NormalizePath, MergesSlashesOutsideTheQuery) {
  const PathOptions merge{false, true, EscapedSlashes::kKeep};
  EXPECT_EQ(apply("/a//b/c", merge), "/a/b/c");
  EXPECT_EQ(apply("//a////b//", merge), "/a/b/");
  EXPECT_EQ(apply("/a//b?a=///c", merge), "/a/b?a=///c");
  EXPECT_EQ(apply("/a/../b", merge), "/a/../b");
  EXPECT_EQ(apply("/a//..//b", {true, true, EscapedSlashes::kKeep}), "/a/b");
  EXPECT_EQ(apply("/a\\\\b", {true, true, EscapedSlashes::kKeep}), "/a/b");
}

TEST(NormalizePath, TreatsEscapedSlashesAsTold) {
  const std::string_view path = "/a%2Fb%5c%2e./c?%2f";
  EXPECT_EQ(apply(path, {true, false, EscapedSlashes::kKeep}), "/a%2Fb%5c../c?%2f");
  EXPECT_EQ(apply(path, {true, false, EscapedSlashes::kReject}), "reject");
  EXPECT_EQ(apply(path, {true, false, EscapedSlashes::kUnescapeAndForward}), "/a/c?%2f");
  EXPECT_EQ(apply(path, {true, false, EscapedSlashes::kUnescapeAndRedirect}), "redirect /a/c?%2f");
  EXPECT_EQ(apply(path, {false, false, EscapedSlashes::kUnescapeAndRedirect}), "redirect /a/b\\%2e./c?%2f");
  EXPECT_EQ(apply("/a?%2f", {true, false, EscapedSlashes::kReject}), "/a?%2f");
}

TEST(QueryParameters, AreFoundByNameInOrder) {
  std::string seen;
  for_each_query_parameter("/p?a=1&b&&c==2&a=3#x?y=z", [&](std::string_view name, std::string_view value) {
    seen.append(name).append(":").append(value).append(" ");
  });
  EXPECT_EQ(seen, "a:1 b: c:=2 a:3 ");
  EXPECT_EQ(query_parameter("/p?a=1&a=2", "a"), "1");
  EXPECT_EQ(query_parameter("/p?a", "a"), "");
  EXPECT_EQ(query_parameter("/p?ab=1", "a"), std::nullopt);
  EXPECT_EQ(query_parameter("/p", "a"), std::nullopt);
  EXPECT_EQ(path_without_query("/p#f?q"), "/p");
  EXPECT_EQ(query_of("/p?"), "");
}

TEST(PercentEncoding, RoundTrips) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_decode(percent_encode_component(all)), all);
  EXPECT_EQ(percent_encode("a b%\n\xff"), "a b%25%0A%FF");
  EXPECT_EQ(percent_encode("a b&", " &"), "a%20b%26");
  EXPECT_EQ(percent_encode_component("a/b ~"), "a%2Fb%20~");
  EXPECT_EQ(percent_decode("%4%zz%41%"), "%4%zzA%");
}

TEST(Authority, SplitsHostAndPort) {
  EXPECT_EQ(split_host_port("[::1]:65535").host, "[::1]");
  EXPECT_EQ(split_host_port("[::1]:65535").port, 65535);
  EXPECT_EQ(split_host_port("h").port, 0);
  EXPECT_TRUE(split_host_port("h:").valid);
  EXPECT_FALSE(split_host_port("").valid);
  EXPECT_FALSE(split_host_port("h:+1").valid);
  EXPECT_EQ(strip_port("h:1"), "h");
  EXPECT_EQ(strip_port("[::1]"), "[::1]");
  EXPECT_EQ(strip_port("[::1]:1"), "[::1]");
  EXPECT_EQ(strip_port("h"), "h");
}

}  // namespace
}  // namespace millrace::http
