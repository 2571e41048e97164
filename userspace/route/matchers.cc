#include "route/matchers.h"

#include <fmt/format.h>

#include <algorithm>

#include "route/text.h"

namespace millrace::route {
namespace {

// value is in lower case already.
bool equal_folded(std::string_view text, std::string_view value) {
  return text.size() == value.size() &&
         std::equal(text.begin(), text.end(), value.begin(), [](char a, char b) { return to_lower(a) == b; });
}

bool contains_folded(std::string_view text, std::string_view value) {
  return std::search(text.begin(), text.end(), value.begin(), value.end(),
                     [](char a, char b) { return to_lower(a) == b; }) != text.end() ||
         value.empty();
}

base::Error at(std::string_view field, size_t index, base::Error error) {
  error.what = fmt::format("{}[{}]: {}", field, index, error.what);
  return error;
}

template <class Matcher, class Options>
base::Result<std::vector<Matcher>> compile_each(const std::vector<Options>& options, std::string_view field) {
  std::vector<Matcher> out;
  out.reserve(options.size());
  for (size_t i = 0; i < options.size(); ++i) {
    auto matcher = Matcher::compile(options[i]);
    if (!matcher) return at(field, i, std::move(matcher).error());
    out.push_back(*std::move(matcher));
  }
  return out;
}

}  // namespace

base::Result<StringMatcher> StringMatcher::compile(const StringMatch& options) {
  StringMatcher out;
  out.kind_ = options.kind;
  if (options.kind == StringMatch::Kind::kSafeRegex) {
    auto regex = Regex::compile(options.value);
    if (!regex) return std::move(regex).error();
    out.regex_.emplace(*std::move(regex));
    return out;
  }
  out.ignore_case_ = options.ignore_case;
  out.value_ = options.ignore_case ? to_lower(options.value) : options.value;
  return out;
}

bool StringMatcher::matches(std::string_view text) const {
  switch (kind_) {
    case StringMatch::Kind::kExact: return ignore_case_ ? equal_folded(text, value_) : text == value_;
    case StringMatch::Kind::kPrefix:
      return ignore_case_ ? equal_folded(text.substr(0, value_.size()), value_) : text.starts_with(value_);
    case StringMatch::Kind::kSuffix:
      if (text.size() < value_.size()) return false;
      return ignore_case_ ? equal_folded(text.substr(text.size() - value_.size()), value_) : text.ends_with(value_);
    case StringMatch::Kind::kContains:
      return ignore_case_ ? contains_folded(text, value_) : text.find(value_) != std::string_view::npos;
    case StringMatch::Kind::kSafeRegex: return regex_->matches_whole(text);
  }
  return false;
}

base::Result<HeaderMatcher> HeaderMatcher::compile(const HeaderMatch& options) {
  HeaderMatcher out;
  out.name_ = to_lower(options.name);
  if (out.name_.empty()) return invalid("name: is empty");
  if (out.name_ == "host") out.name_ = ":authority";
  out.id_ = http::header_id(out.name_);
  out.kind_ = options.kind;
  out.present_ = options.present;
  out.invert_ = options.invert_match;
  out.missing_is_empty_ = options.treat_missing_header_as_empty;
  out.range_start_ = options.range_start;
  out.range_end_ = options.range_end;
  if (options.kind == HeaderMatch::Kind::kString) {
    auto string = StringMatcher::compile(options.string);
    if (!string) return std::move(string).error();
    out.string_ = *std::move(string);
  }
  return out;
}

bool HeaderMatcher::matches_value(std::string_view value) const {
  switch (kind_) {
    case HeaderMatch::Kind::kPresent: return present_;
    case HeaderMatch::Kind::kString: return string_.matches(value);
    case HeaderMatch::Kind::kRange: {
      const auto number = parse_whole<int64_t>(value);
      return number && *number >= range_start_ && *number < range_end_;
    }
  }
  return false;
}

// A missing header satisfies nothing but a question for its absence: inverting does not make it match.
bool HeaderMatcher::matches(const http::HeaderMap& headers) const {
  const bool missing = id_ == http::Header::kOther ? !headers.has(name_) : !headers.has(id_);
  if (missing) {
    if (missing_is_empty_) return matches_value({}) != invert_;
    return kind_ == HeaderMatch::Kind::kPresent && present_ == invert_;
  }
  if (kind_ == HeaderMatch::Kind::kPresent) return present_ != invert_;
  std::string_view first;
  size_t count = 0;
  headers.for_each([&](const http::HeaderMap::Entry& entry) {
    if (entry.id != id_ || (id_ == http::Header::kOther && entry.name != name_)) return;
    if (count++ == 0) first = entry.value;
  });
  if (count == 1) return matches_value(first) != invert_;
  // RFC 9113 section 8.2.3: crumbs of a cookie are joined with "; ".
  const std::string_view delimiter = id_ == http::Header::kCookie ? "; " : ",";
  std::string joined;
  headers.for_each([&](const http::HeaderMap::Entry& entry) {
    if (entry.id != id_ || (id_ == http::Header::kOther && entry.name != name_)) return;
    if (!joined.empty()) joined += delimiter;
    joined += entry.value;
  });
  return matches_value(joined) != invert_;
}

base::Result<QueryParameterMatcher> QueryParameterMatcher::compile(const QueryParameterMatch& options) {
  QueryParameterMatcher out;
  out.name_ = options.name;
  out.kind_ = options.kind;
  out.present_ = options.present;
  if (options.kind == QueryParameterMatch::Kind::kString) {
    auto string = StringMatcher::compile(options.string);
    if (!string) return std::move(string).error();
    out.string_ = *std::move(string);
  }
  return out;
}

bool QueryParameterMatcher::matches(std::string_view query) const {
  while (!query.empty()) {
    const size_t ampersand = query.find('&');
    const std::string_view parameter = query.substr(0, ampersand);
    query = ampersand == std::string_view::npos ? std::string_view{} : query.substr(ampersand + 1);
    const size_t equals = parameter.find('=');
    if (parameter.substr(0, equals) != name_) continue;
    if (kind_ == QueryParameterMatch::Kind::kPresent) return present_;
    return string_.matches(equals == std::string_view::npos ? std::string_view{} : parameter.substr(equals + 1));
  }
  return kind_ == QueryParameterMatch::Kind::kPresent && !present_;
}

base::Result<std::vector<HeaderMatcher>> compile_all(const std::vector<HeaderMatch>& options, std::string_view field) {
  return compile_each<HeaderMatcher>(options, field);
}

base::Result<std::vector<QueryParameterMatcher>> compile_all(const std::vector<QueryParameterMatch>& options,
                                                             std::string_view field) {
  return compile_each<QueryParameterMatcher>(options, field);
}

bool matches_any(const std::vector<HeaderMatcher>& matchers, const http::HeaderMap& headers) {
  return std::any_of(matchers.begin(), matchers.end(), [&](const HeaderMatcher& m) { return m.matches(headers); });
}

bool matches_all(const std::vector<HeaderMatcher>& matchers, const http::HeaderMap& headers) {
  return std::all_of(matchers.begin(), matchers.end(), [&](const HeaderMatcher& m) { return m.matches(headers); });
}

}  // namespace millrace::route
