// Compiled conditions on strings, headers and query parameters, with Envoy's treatment of missing and repeated headers.
// Immutable once compiled, any worker. A condition on a header that arrived once allocates nothing; several values of
// one name are joined with "," first.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/header_map.h"
#include "route/options.h"
#include "route/regex.h"

namespace millrace::route {

class StringMatcher {
 public:
  static base::Result<StringMatcher> compile(const StringMatch& options);
  bool matches(std::string_view text) const;

 private:
  StringMatch::Kind kind_ = StringMatch::Kind::kExact;
  bool ignore_case_ = false;
  std::string value_;  // in lower case with ignore_case_
  std::optional<Regex> regex_;
};

class HeaderMatcher {
 public:
  static base::Result<HeaderMatcher> compile(const HeaderMatch& options);
  bool matches(const http::HeaderMap& headers) const;

 private:
  bool matches_value(std::string_view value) const;

  std::string name_;
  http::Header id_ = http::Header::kOther;
  HeaderMatch::Kind kind_ = HeaderMatch::Kind::kPresent;
  bool present_ = true;
  bool invert_ = false;
  bool missing_is_empty_ = false;
  int64_t range_start_ = 0;
  int64_t range_end_ = 0;
  StringMatcher string_;
};

class QueryParameterMatcher {
 public:
  static base::Result<QueryParameterMatcher> compile(const QueryParameterMatch& options);
  // query: what follows the "?", as it came (not percent-decoded). The first parameter of the name counts.
  bool matches(std::string_view query) const;

 private:
  std::string name_;
  QueryParameterMatch::Kind kind_ = QueryParameterMatch::Kind::kPresent;
  bool present_ = true;
  StringMatcher string_;
};

// Compiles every element; an error's text begins with "headers[2]", say, where field is "headers".
base::Result<std::vector<HeaderMatcher>> compile_all(const std::vector<HeaderMatch>& options, std::string_view field);
base::Result<std::vector<QueryParameterMatcher>> compile_all(const std::vector<QueryParameterMatch>& options,
                                                             std::string_view field);
bool matches_any(const std::vector<HeaderMatcher>& matchers, const http::HeaderMap& headers);
bool matches_all(const std::vector<HeaderMatcher>& matchers, const http::HeaderMap& headers);

}  // namespace millrace::route
