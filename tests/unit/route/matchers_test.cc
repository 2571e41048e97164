#include "route/matchers.h"

#include "unit/route/support.h"

namespace millrace::route {
namespace {

HeaderMatch string_match(StringMatch::Kind kind, std::string value, bool ignore_case = false) {
  HeaderMatch match;
  match.name = "X-Test";
  match.kind = HeaderMatch::Kind::kString;
  match.string = {kind, std::move(value), ignore_case};
  return match;
}

bool matches(const HeaderMatch& options, Fields fields) {
  http::HeaderMap headers;
  fill(headers, fields);
  auto matcher = HeaderMatcher::compile(options);
  EXPECT_TRUE(matcher);
  return matcher->matches(headers);
}

TEST(HeaderMatcher, ComparesStringsByKind) {
  using Kind = StringMatch::Kind;
  EXPECT_TRUE(matches(string_match(Kind::kExact, "abc"), {{"x-test", "abc"}}));
  EXPECT_FALSE(matches(string_match(Kind::kExact, "abc"), {{"x-test", "ABC"}}));
  EXPECT_TRUE(matches(string_match(Kind::kExact, "aBc", true), {{"x-test", "AbC"}}));
  EXPECT_TRUE(matches(string_match(Kind::kPrefix, "ab"), {{"x-test", "abc"}}));
  EXPECT_FALSE(matches(string_match(Kind::kPrefix, "abcd"), {{"x-test", "abc"}}));
  EXPECT_TRUE(matches(string_match(Kind::kPrefix, "AB", true), {{"x-test", "abc"}}));
  EXPECT_TRUE(matches(string_match(Kind::kSuffix, "bc"), {{"x-test", "abc"}}));
  EXPECT_FALSE(matches(string_match(Kind::kSuffix, "zabc", true), {{"x-test", "abc"}}));
  EXPECT_TRUE(matches(string_match(Kind::kContains, "b"), {{"x-test", "abc"}}));
  EXPECT_TRUE(matches(string_match(Kind::kContains, "BC", true), {{"x-test", "abcd"}}));
  EXPECT_FALSE(matches(string_match(Kind::kContains, "bd"), {{"x-test", "abcd"}}));
}

TEST(HeaderMatcher, RegexesMatchTheWholeValue) {
  const HeaderMatch match = string_match(StringMatch::Kind::kSafeRegex, "\\d{3}");
  EXPECT_TRUE(matches(match, {{"x-test", "123"}}));
  EXPECT_FALSE(matches(match, {{"x-test", "1234"}}));
}

TEST(HeaderMatcher, RangesAreHalfOpenWholeNumbers) {
  HeaderMatch match;
  match.name = "x-test";
  match.kind = HeaderMatch::Kind::kRange;
  match.range_start = -10;
  match.range_end = 0;
  EXPECT_TRUE(matches(match, {{"x-test", "-10"}}));
  EXPECT_TRUE(matches(match, {{"x-test", "-1"}}));
  EXPECT_FALSE(matches(match, {{"x-test", "0"}}));
  EXPECT_FALSE(matches(match, {{"x-test", "-1x"}}));
  EXPECT_FALSE(matches(match, {{"x-test", ""}}));
}

TEST(HeaderMatcher, InvertingDoesNotMakeAMissingHeaderMatch) {
  HeaderMatch match = string_match(StringMatch::Kind::kExact, "a");
  match.invert_match = true;
  EXPECT_TRUE(matches(match, {{"x-test", "b"}}));
  EXPECT_FALSE(matches(match, {{"x-test", "a"}}));
  EXPECT_FALSE(matches(match, {}));
}

TEST(HeaderMatcher, MissingHeaderCountsAsEmptyWhenAsked) {
  HeaderMatch match = string_match(StringMatch::Kind::kSafeRegex, "^$");
  EXPECT_FALSE(matches(match, {}));
  match.treat_missing_header_as_empty = true;
  EXPECT_TRUE(matches(match, {}));
  HeaderMatch range;
  range.name = "x-test";
  range.kind = HeaderMatch::Kind::kRange;
  range.range_end = 10;
  range.invert_match = true;
  EXPECT_FALSE(matches(range, {}));
  range.treat_missing_header_as_empty = true;
  EXPECT_TRUE(matches(range, {}));
}

TEST(HeaderMatcher, PresenceAndAbsence) {
  HeaderMatch match;
  match.name = "x-test";
  EXPECT_TRUE(matches(match, {{"x-test", ""}}));
  EXPECT_FALSE(matches(match, {}));
  match.present = false;
  EXPECT_FALSE(matches(match, {{"x-test", ""}}));
  EXPECT_TRUE(matches(match, {}));
  match.present = true;
  match.invert_match = true;
  EXPECT_FALSE(matches(match, {{"x-test", ""}}));
  EXPECT_TRUE(matches(match, {}));
}

TEST(HeaderMatcher, JoinsRepeatedHeaders) {
  EXPECT_TRUE(matches(string_match(StringMatch::Kind::kExact, "a,b"), {{"x-test", "a"}, {"x-test", "b"}}));
  EXPECT_FALSE(matches(string_match(StringMatch::Kind::kExact, "a"), {{"x-test", "a"}, {"x-test", "b"}}));
  HeaderMatch cookie = string_match(StringMatch::Kind::kExact, "a=1; b=2");
  cookie.name = "cookie";
  EXPECT_TRUE(matches(cookie, {{"cookie", "a=1"}, {"cookie", "b=2"}}));
}

TEST(HeaderMatcher, HostMeansTheAuthority) {
  HeaderMatch match = string_match(StringMatch::Kind::kExact, "a.com");
  match.name = "Host";
  EXPECT_TRUE(matches(match, {{":authority", "a.com"}}));
}

bool query_matches(const QueryParameterMatch& options, std::string_view query) {
  auto matcher = QueryParameterMatcher::compile(options);
  EXPECT_TRUE(matcher);
  return matcher->matches(query);
}

TEST(QueryParameterMatcher, TakesTheFirstParameterOfTheName) {
  QueryParameterMatch match;
  match.name = "id";
  match.kind = QueryParameterMatch::Kind::kString;
  match.string.value = "1";
  EXPECT_TRUE(query_matches(match, "id=1"));
  EXPECT_TRUE(query_matches(match, "x=3&id=1&id=2"));
  EXPECT_FALSE(query_matches(match, "id=2&id=1"));
  EXPECT_FALSE(query_matches(match, "xid=1"));
  EXPECT_FALSE(query_matches(match, "id"));
  EXPECT_FALSE(query_matches(match, ""));
}

TEST(QueryParameterMatcher, PresenceAndAbsence) {
  QueryParameterMatch match;
  match.name = "debug";
  EXPECT_TRUE(query_matches(match, "a=1&debug"));
  EXPECT_TRUE(query_matches(match, "debug="));
  EXPECT_FALSE(query_matches(match, "a=debug"));
  match.present = false;
  EXPECT_FALSE(query_matches(match, "debug=1"));
  EXPECT_TRUE(query_matches(match, "a=1"));
}

TEST(Regex, ErrorNamesTheByte) {
  const auto regex = Regex::compile("/a/(b");
  ASSERT_FALSE(regex);
  EXPECT_NE(regex.error().what.find("bad regex \"/a/(b\" at byte 0: missing"), std::string::npos) << regex.error().what;
  EXPECT_NE(Regex::compile("/a/x**").error().what.find("at byte 4"), std::string::npos);
}

TEST(Regex, KnowsThePrefixThatEveryMatchHas) {
  EXPECT_TRUE(Regex::compile("/api/v[0-9]+/.*")->required_prefix().starts_with("/api/"));
  EXPECT_EQ(Regex::compile(".*")->required_prefix(), "");
  EXPECT_EQ(Regex::compile("(?i)/api")->required_prefix().substr(0, 2) == "/a", false);
  EXPECT_EQ(Regex::compile("/a|b")->required_prefix(), "");
}

std::string replaced(std::string_view pattern, std::string_view text, std::string_view substitution) {
  std::string out;
  return Regex::compile(pattern)->replace_all(text, substitution, out) ? out : "no match";
}

TEST(Regex, ReplacesEveryMatch) {
  EXPECT_EQ(replaced("one", "/xxx/one/yyy/one/zzz", "two"), "/xxx/two/yyy/two/zzz");
  EXPECT_EQ(replaced("^(.*?)one(.*)$", "/xxx/one/yyy/one/zzz", "\\1two\\2"), "/xxx/two/yyy/one/zzz");
  EXPECT_EQ(replaced("^/service/([^/]+)(/.*)$", "/service/foo/v1/api", "\\2/instance/\\1"), "/v1/api/instance/foo");
  EXPECT_EQ(replaced("(?i)/xxx/", "/aaa/XxX/bbb", "/yyy/"), "/aaa/yyy/bbb");
  EXPECT_EQ(replaced("x*", "abc", "-"), "-a-b-c-");
  EXPECT_EQ(replaced("b*", "abc", "-"), "-a-c-");
  EXPECT_EQ(replaced("a", "bcd", "-"), "no match");
  EXPECT_EQ(replaced("b", "abc", "\\\\\\0"), "a\\bc");
}

TEST(Regex, RefusesASubstitutionOfAMissingGroup) {
  EXPECT_FALSE(Regex::compile("(a)b")->check_substitution("\\2"));
  EXPECT_TRUE(Regex::compile("(a)b")->check_substitution("\\1\\0"));
}

}  // namespace
}  // namespace millrace::route
