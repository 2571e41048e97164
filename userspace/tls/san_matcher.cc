#include "tls/san_matcher.h"

#include <re2/re2.h>

#include <algorithm>

#include "tls/errors.h"

namespace millrace::tls {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return out;
}

bool label_matches(std::string_view label, std::string_view pattern) {
  if (pattern == "*") return true;
  if (std::count(pattern.begin(), pattern.end(), '*') != 1) return false;
  const size_t star = pattern.find('*');
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  return label.size() >= before.size() + after.size() && label.starts_with(before) && label.ends_with(after);
}

}  // namespace

bool dns_name_matches(std::string_view host, std::string_view pattern) {
  const std::string name = lower(host), wanted = lower(pattern);
  if (name == wanted) return true;
  const size_t name_dot = name.find('.'), wanted_dot = wanted.find('.');
  if (name_dot == name.npos || wanted_dot == wanted.npos) return false;
  const std::string_view label = std::string_view(wanted).substr(0, wanted_dot);
  const std::string_view rest = std::string_view(wanted).substr(wanted_dot);
  if (label.find('*') == label.npos || rest.find('*') != rest.npos || label.starts_with("xn--")) return false;
  return std::string_view(name).substr(name_dot) == rest &&
         label_matches(std::string_view(name).substr(0, name_dot), label);
}

void SanMatcher::Delete::operator()(const re2::RE2* regex) const {
  delete regex;
}

base::Result<SanMatcher> SanMatcher::compile(const SanMatch& options) {
  SanMatcher matcher;
  matcher.match_ = options;
  if (options.type == SanMatch::Type::kOtherName && options.oid.empty()) {
    return invalid("a matcher of OTHER_NAME needs the oid of the name");
  }
  StringMatch& match = matcher.match_.matcher;
  if (match.kind == StringMatch::Kind::kRegex) {
    RE2::Options quiet;
    quiet.set_log_errors(false);
    matcher.regex_.reset(new RE2(match.value, quiet));
    if (!matcher.regex_->ok()) return invalid("regex \"" + match.value + "\": " + matcher.regex_->error());
  } else if (match.ignore_case) {
    match.value = lower(match.value);
  }
  return matcher;
}

SanMatcher SanMatcher::exact_dns(std::string_view host) {
  SanMatcher matcher;
  matcher.match_.matcher.value = std::string(host);
  return matcher;
}

bool SanMatcher::matches(const GeneralName& name) const {
  if (name.type != match_.type) return false;
  if (match_.type == SanMatch::Type::kOtherName && name.oid != match_.oid) return false;
  const bool is_exact = match_.matcher.kind == StringMatch::Kind::kExact;
  if (match_.type == SanMatch::Type::kDns && is_exact) return dns_name_matches(match_.matcher.value, name.text);
  return match_.matcher.ignore_case && regex_ == nullptr ? matches_text(lower(name.text)) : matches_text(name.text);
}

bool SanMatcher::matches_text(std::string_view text) const {
  const std::string& value = match_.matcher.value;
  switch (match_.matcher.kind) {
    case StringMatch::Kind::kExact: return text == value;
    case StringMatch::Kind::kPrefix: return text.starts_with(value);
    case StringMatch::Kind::kSuffix: return text.ends_with(value);
    case StringMatch::Kind::kContains: return text.find(value) != text.npos;
    case StringMatch::Kind::kRegex: return RE2::FullMatch({text.data(), text.size()}, *regex_);
  }
  return false;
}

bool any_matches(std::span<const SanMatcher> matchers, std::span<const GeneralName> names) {
  for (const SanMatcher& matcher : matchers) {
    for (const GeneralName& name : names) {
      if (matcher.matches(name)) return true;
    }
  }
  return false;
}

}  // namespace millrace::tls
