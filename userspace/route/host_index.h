// Which virtual host an authority belongs to: exact domain, then the longest "*suffix", the longest "prefix*",
// then "*"; in any case. A wildcard stands for at least one character. Domains are added once, then only looked
// up.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace millrace::route {

class HostIndex {
 public:
  static constexpr uint32_t kNone = ~0u;

  // Returns the virtual host that has the domain already, or kNone and the domain is added.
  uint32_t add(std::string_view domain, uint32_t virtual_host);
  // authority with its port, if it has one, unless it was stripped before.
  uint32_t find(std::string_view authority) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Map = std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>>;
  struct Wildcards {
    Map map;
    std::vector<uint32_t> lengths;  // of the keys, longest first
  };
  static uint32_t insert(Map& map, std::string_view key, uint32_t virtual_host);

  Map exact_;
  Wildcards suffixes_;
  Wildcards prefixes_;
  uint32_t any_ = kNone;
};

// The authority without ":port"; brackets of an IPv6 address stay.
std::string_view without_port(std::string_view authority);

}  // namespace millrace::route
