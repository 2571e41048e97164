// Which filter chain of a listener a connection belongs to: listener.v3.FilterChainMatch of all chains, compiled into
// one look-up per criterion. Envoy's order, and as there no way back: at each step the most specific entry that fits is
// taken for good, and what it lacks further down is a mismatch.
//
//   destination port -> destination address -> server name -> transport protocol -> application protocol
//     -> address of the direct peer -> source type -> source address -> source port
//
// Built by the configuration, part of the Snapshot, immutable then; any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/address.h"

namespace millrace::filter {

enum class SourceType : uint8_t { kAny, kSameIpOrLoopback, kExternal };

// An empty list or name asks for nothing.
struct FilterChainMatch {
  std::optional<uint16_t> destination_port = {};
  std::vector<net::Cidr> prefix_ranges = {};
  std::vector<std::string> server_names = {};  // lower case; "*.example.com" for every name below
  std::string transport_protocol = {};         // "tls", "raw_buffer"
  std::vector<std::string> application_protocols = {};
  std::vector<net::Cidr> direct_source_prefix_ranges = {};
  SourceType source_type = SourceType::kAny;
  std::vector<net::Cidr> source_prefix_ranges = {};
  std::vector<uint16_t> source_ports = {};

  bool empty() const;
};

// What is known of a connection once the listener filters are done.
struct FilterChainFacts {
  const net::Address& destination;    // the original one, where it was restored
  const net::Address& source;
  const net::Address& direct_source;  // of the socket
  std::string_view server_name;
  std::string_view transport_protocol;
  const std::vector<std::string>& application_protocols;
};

namespace match {

// By address range, the longest prefix first.
template <class T>
class ByAddress {
 public:
  T& at(const net::Cidr* range) {  // null: every address
    if (range == nullptr) return any_ ? *any_ : any_.emplace();
    auto& lengths = range->prefix.kind() == net::Address::Kind::kIpv4 ? ipv4_ : ipv6_;
    auto place = lengths.begin();
    while (place != lengths.end() && place->bits > range->length) ++place;
    if (place == lengths.end() || place->bits != range->length) place = lengths.insert(place, {range->length, {}});
    return place->entries[key(range->prefix, range->length)];
  }
  const T* find(const net::Address& address) const {
    if (address.is_ip()) {
      for (const Length& length : address.kind() == net::Address::Kind::kIpv4 ? ipv4_ : ipv6_) {
        const auto found = length.entries.find(key(address, length.bits));
        if (found != length.entries.end()) return &found->second;
      }
    }
    return any_ ? &*any_ : nullptr;
  }

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  struct Hash {
    size_t operator()(const Key& k) const {
      return static_cast<size_t>((k.first ^ (k.second * 0x9e3779b97f4a7c15)) * 0xff51afd7ed558ccd >> 7);
    }
  };
  struct Length {
    uint32_t bits;
    std::unordered_map<Key, T, Hash> entries;
  };
  static Key key(const net::Address& address, uint32_t bits) {
    uint64_t half[2] = {};
    for (size_t i = 0; i < 16; ++i) half[i / 8] = half[i / 8] << 8 | address.bytes()[i];
    const auto mask = [](uint32_t n) { return n == 0 ? 0 : n >= 64 ? ~uint64_t{0} : ~uint64_t{0} << (64 - n); };
    return {half[0] & mask(bits), half[1] & mask(bits > 64 ? bits - 64 : 0)};
  }

  std::vector<Length> ipv4_, ipv6_;  // longest first
  std::optional<T> any_;
};

// By name; "" is what asks for none.
template <class T>
class ByName {
 public:
  T& at(const std::string& name) { return entries_[name]; }
  const T* find(std::string_view name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, T, Hash, std::equal_to<>> entries_;
};

using Ports = std::unordered_map<uint16_t, size_t>;  // source port to chain; 0: any
using Sources = ByAddress<Ports>;
struct SourceTypes {
  std::optional<Sources> any, local, external;
};
using DirectSources = ByAddress<SourceTypes>;
using ApplicationProtocols = ByName<DirectSources>;
using TransportProtocols = ByName<ApplicationProtocols>;
using ServerNames = ByName<TransportProtocols>;
using Destinations = ByAddress<ServerNames>;

}  // namespace match

class FilterChainIndex {
 public:
  // A chain with this match. The chain that would get the same connections, if there is one: that is a mistake.
  std::optional<size_t> add(const FilterChainMatch& match, size_t chain);
  // The chain of every connection, where there is nothing to match.
  std::optional<size_t> only() const { return only_; }
  std::optional<size_t> find(const FilterChainFacts& facts) const;

 private:
  static std::optional<size_t> add_sources(match::SourceTypes& types, const FilterChainMatch& match, size_t chain);
  static std::optional<size_t> add_protocols(match::ServerNames& names, const FilterChainMatch& match, size_t chain);

  std::unordered_map<uint16_t, match::Destinations> ports_;  // destination port; 0: any
  std::optional<size_t> only_;
  size_t chains_ = 0;
};

}  // namespace millrace::filter
