#include "config/similar.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace millrace::config {

namespace {

std::string folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '_') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

constexpr size_t kFar = 60;  // beyond it two names are just different

std::string_view last_part(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

// The part before the version: "router" of envoy.extensions.filters.http.router.v3.Router.
std::string_view package_part(std::string_view name) {
  for (int i = 0; i < 2; ++i) name = name.substr(0, std::min(name.rfind('.'), name.size()));
  return last_part(name);
}

// Of names that are folded already.
size_t distance_of(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > limit) return limit + 1;
  // Three rows of the usual table: swapped neighbours look two rows back.
  std::array<std::vector<size_t>, 3> rows;
  for (auto& row : rows) row.resize(a.size() + 1);
  for (size_t i = 0; i <= a.size(); ++i) rows[0][i] = i;
  for (size_t j = 1; j <= b.size(); ++j) {
    auto& row = rows[j % 3];
    const auto& above = rows[(j + 2) % 3];
    const auto& second_above = rows[(j + 1) % 3];
    size_t least = row[0] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
      row[i] = std::min({above[i] + 1, row[i - 1] + 1, above[i - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[i] = std::min(row[i], second_above[i - 2] + 1);
      }
      least = std::min(least, row[i]);
    }
    // A swap can step over one row, so a row beyond the limit ends it only a row later; one above the limit
    // is margin.
    if (least > limit + 1) return limit + 1;
  }
  return std::min(rows[b.size() % 3][a.size()], limit + 1);
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b, size_t limit) {
  return distance_of(folded(a), folded(b), limit);
}

std::string closest_name(std::string_view word, const std::vector<std::string>& candidates) {
  // A third of the letters wrong is still a slip; more is another word.
  size_t limit = std::max<size_t>(1, word.size() / 3);
  const std::string* best = nullptr;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate, limit);
    if (distance > limit || (best != nullptr && distance == limit)) continue;
    best = &candidate;
    limit = distance;
  }
  return best == nullptr ? std::string() : *best;
}

std::string closest_type(std::string_view full_name, const std::vector<std::string>& candidates) {
  // Names that end right: one whose package agrees up to the version, or the only one; Config and Cluster end
  // many.
  const std::string package = "." + std::string(package_part(full_name)) + ".";
  const std::string* best = nullptr;
  size_t least = std::numeric_limits<size_t>::max();
  size_t alike = 0;
  for (const std::string& candidate : candidates) {
    if (last_part(candidate) != last_part(full_name)) continue;
    ++alike;
    const bool agrees = candidate.find(package) != std::string::npos;
    const size_t distance = edit_distance(full_name, candidate, kFar) + (agrees ? 0 : kFar);
    if (distance >= least) continue;
    least = distance;
    best = &candidate;
  }
  if (best != nullptr && (least < kFar || alike == 1)) return *best;
  const std::string word = folded(full_name);
  const size_t limit = full_name.size() / 8 + 1;
  least = limit + 1;
  best = nullptr;
  for (const std::string& candidate : candidates) {
    const size_t distance = distance_of(word, folded(candidate), limit);
    if (distance >= least) continue;
    least = distance;
    best = &candidate;
  }
  return best == nullptr ? std::string() : *best;
}

}  // namespace millrace::config
