#include "route/regex.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>

#include "route/text.h"

namespace millrace::route {
namespace {

re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

RE2::Options quiet() {
  RE2::Options options;
  options.set_log_errors(false);
  return options;
}

// Any text that matches lies between two bounds, so it begins with what the bounds share.
std::string shared_prefix(std::string_view pattern) {
  const RE2 anchored(fmt::format("^(?:{})", pattern), quiet());
  std::string low, high;
  if (!anchored.ok() || !anchored.PossibleMatchRange(&low, &high, 64)) return {};
  const size_t limit = std::min(low.size(), high.size());
  const auto end = std::mismatch(low.begin(), low.begin() + static_cast<ptrdiff_t>(limit), high.begin()).first;
  return std::string(low.begin(), end);
}

void append_substitution(std::string_view substitution, const std::array<re2::StringPiece, 10>& groups,
                         std::string& out) {
  for (size_t i = 0; i < substitution.size(); ++i) {
    if (substitution[i] != '\\' || i + 1 == substitution.size()) {
      out.push_back(substitution[i]);
      continue;
    }
    const char escaped = substitution[++i];
    if (escaped < '0' || escaped > '9') {
      out.push_back(escaped);
      continue;
    }
    const re2::StringPiece& group = groups[static_cast<size_t>(escaped - '0')];
    if (!group.empty()) out.append(group.data(), group.size());
  }
}

}  // namespace

void Regex::Delete::operator()(const re2::RE2* regex) const { delete regex; }

base::Result<Regex> Regex::compile(std::string_view pattern) {
  Regex out;
  out.regex_.reset(new RE2(piece(pattern), quiet()));
  if (!out.regex_->ok()) {
    const size_t at = pattern.find(out.regex_->error_arg());
    return invalid(fmt::format("bad regex \"{}\" at byte {}: {}", pattern, at == std::string_view::npos ? 0 : at,
                               out.regex_->error()));
  }
  out.required_prefix_ = shared_prefix(pattern);
  return out;
}

bool Regex::matches_whole(std::string_view text) const {
  return regex_->Match(piece(text), 0, text.size(), RE2::ANCHOR_BOTH, nullptr, 0);
}

base::Result<void> Regex::check_substitution(std::string_view substitution) const {
  std::string why;
  if (regex_->CheckRewriteString(piece(substitution), &why)) return {};
  return invalid(fmt::format("bad substitution \"{}\" for regex \"{}\": {}", substitution, regex_->pattern(), why));
}

bool Regex::replace_all(std::string_view text, std::string_view substitution, std::string& out) const {
  std::array<re2::StringPiece, 10> groups;
  const int group_count = std::min(RE2::MaxSubmatch(piece(substitution)) + 1, 10);
  size_t copied = 0;  // bytes of the text that are in `out`, or replaced
  size_t from = 0;
  bool replaced = false;
  while (from <= text.size() &&
         regex_->Match(piece(text), from, text.size(), RE2::UNANCHORED, groups.data(), group_count)) {
    const auto begin = static_cast<size_t>(groups[0].data() - text.data());
    if (groups[0].empty() && replaced && begin == copied) {  // an empty match right behind a match is none
      ++from;
      continue;
    }
    out.append(text, copied, begin - copied);
    append_substitution(substitution, groups, out);
    copied = from = begin + groups[0].size();
    replaced = true;
  }
  if (replaced) out.append(text, copied, std::string_view::npos);
  return replaced;
}

}  // namespace millrace::route
