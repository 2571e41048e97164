#include "admin/query.h"

#include "base/hex.h"

namespace millrace::admin {
namespace {

// '+' stays: it is an operator in the regular expressions that people type, and forms send it as %2B.
std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = base::hex_digit(text[i + 1]);
      const int low = base::hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

Query::Query(std::string_view encoded) {
  while (!encoded.empty()) {
    const std::string_view part = encoded.substr(0, encoded.find('&'));
    encoded.remove_prefix(part.size() < encoded.size() ? part.size() + 1 : part.size());
    const std::string_view name = part.substr(0, part.find('='));
    if (name.empty() || has(name)) continue;
    parameters_.emplace_back(decoded(name), name.size() < part.size() ? decoded(part.substr(name.size() + 1)) : "");
  }
}

const std::string* Query::get(std::string_view name) const {
  for (const Parameter& p : parameters_) {
    if (p.first == name) return &p.second;
  }
  return nullptr;
}

std::optional<std::string> Query::value(std::string_view name) const {
  const std::string* found = get(name);
  if (found == nullptr || found->empty()) return std::nullopt;
  return *found;
}

}  // namespace millrace::admin
