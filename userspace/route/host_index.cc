#include "route/host_index.h"

#include <algorithm>
#include <array>
#include <functional>

#include "route/text.h"

namespace millrace::route {
namespace {

constexpr size_t kMaxHostBytes = 512;  // a DNS name has 253, a longer authority is none of ours

size_t lower_into(std::string_view text, char* out) {
  for (size_t i = 0; i < text.size(); ++i) out[i] = to_lower(text[i]);
  return text.size();
}

void note_length(std::vector<uint32_t>& lengths, size_t length) {
  const auto n = static_cast<uint32_t>(length);
  const auto at = std::lower_bound(lengths.begin(), lengths.end(), n, std::greater<>());
  if (at == lengths.end() || *at != n) lengths.insert(at, n);
}

}  // namespace

uint32_t HostIndex::insert(Map& map, std::string_view key, uint32_t virtual_host) {
  const auto [it, inserted] = map.emplace(key, virtual_host);
  return inserted ? kNone : it->second;
}

uint32_t HostIndex::add(std::string_view domain, uint32_t virtual_host) {
  std::string name(domain.size(), '\0');
  lower_into(domain, name.data());
  if (name == "*") {
    const uint32_t holder = any_;
    if (holder == kNone) any_ = virtual_host;
    return holder;
  }
  std::string_view key = name;
  Wildcards* wildcards = nullptr;
  if (key.starts_with('*')) {
    key.remove_prefix(1);
    wildcards = &suffixes_;
  } else if (key.ends_with('*')) {
    key.remove_suffix(1);
    wildcards = &prefixes_;
  } else {
    return insert(exact_, key, virtual_host);
  }
  note_length(wildcards->lengths, key.size());
  return insert(wildcards->map, key, virtual_host);
}

uint32_t HostIndex::find(std::string_view authority) const {
  if ((exact_.empty() && suffixes_.map.empty() && prefixes_.map.empty()) || authority.size() > kMaxHostBytes)
    return any_;
  std::array<char, kMaxHostBytes> storage;
  const std::string_view host(storage.data(), lower_into(authority, storage.data()));
  if (const auto it = exact_.find(host); it != exact_.end()) return it->second;
  for (const uint32_t length : suffixes_.lengths) {
    if (length >= host.size()) continue;
    const auto it = suffixes_.map.find(host.substr(host.size() - length));
    if (it != suffixes_.map.end()) return it->second;
  }
  for (const uint32_t length : prefixes_.lengths) {
    if (length >= host.size()) continue;
    if (const auto it = prefixes_.map.find(host.substr(0, length)); it != prefixes_.map.end()) return it->second;
  }
  return any_;
}

std::string_view without_port(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return authority;
  const size_t bracket = authority.rfind(']');
  if (bracket != std::string_view::npos && bracket > colon) return authority;
  return authority.substr(0, colon);
}

}  // namespace millrace::route
