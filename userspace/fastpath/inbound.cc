#include "fastpath/inbound.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fastpath/wire.h"
#include "skel/inbound.skel.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

constexpr uint32_t kSocketsMax = 256;

// Whether the addresses of `inner` are all in `outer`.
bool within(const fp_prefix& inner, const fp_prefix& outer) {
  if (inner.kind != outer.kind || inner.bits < outer.bits) return false;
  const auto* a = reinterpret_cast<const uint8_t*>(inner.addr.w);
  const auto* b = reinterpret_cast<const uint8_t*>(outer.addr.w);
  const uint32_t bits = outer.bits - 32;
  if (std::memcmp(a, b, bits / 8) != 0) return false;
  return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

Result<void> write_rules(int map, const std::vector<InboundPrefix>& prefixes) {
  for (const InboundPrefix& entry : prefixes) {
    if (bpf_map_update_elem(map, &entry.prefix, &entry.rule, BPF_ANY) != 0) {
      return bpf_failure(errno, "writing an inbound rule");
    }
  }
  return {};
}

Result<void> put_socket(int map, uint32_t index, int fd) {
  const uint64_t value = static_cast<uint64_t>(fd);
  if (bpf_map_update_elem(map, &index, &value, BPF_ANY) == 0) return {};
  return bpf_failure(errno, fmt::format("giving inbound steering its socket {}", index));
}

}  // namespace

Result<std::vector<InboundPrefix>> compile_inbound(std::span<const InboundRule> rules) {
  struct Entry {
    fp_prefix prefix;
    fp_port_range range;
  };
  std::vector<Entry> entries;
  for (const InboundRule& rule : rules) {
    if ((rule.protocol != IPPROTO_TCP && rule.protocol != IPPROTO_UDP) || !rule.destination.prefix.is_ip() ||
        rule.ports.first > rule.ports.last || rule.socket >= kSocketsMax) {
      return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
                   "an inbound rule needs TCP or UDP, an address range, ports in order and one of 256 sockets"};
    }
    entries.push_back({wire_prefix(rule.destination, rule.protocol),
                       {rule.ports.first, rule.ports.last, rule.socket}});
  }
  // Longest prefixes first; rules of one prefix keep their order.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.prefix.bits > b.prefix.bits; });
  std::vector<InboundPrefix> out;
  for (const Entry& entry : entries) {
    const bool known = std::any_of(out.begin(), out.end(), [&](const InboundPrefix& other) {
      return other.prefix.bits == entry.prefix.bits && within(entry.prefix, other.prefix);
    });
    if (!known) out.push_back({entry.prefix, {}});
  }
  for (InboundPrefix& target : out) {
    for (const Entry& entry : entries) {
      if (!within(target.prefix, entry.prefix)) continue;
      if (target.rule.count == FP_INBOUND_RANGES) {
        return Error{ErrorCode::kResourceExhausted, Side::kInternal, 0,
                     fmt::format("more than {} inbound port ranges hold for one address", FP_INBOUND_RANGES)};
      }
      target.rule.ranges[target.rule.count++] = entry.range;
    }
  }
  return out;
}

std::string Inbound::link_name(const net::NetworkNamespace& netns) {
  return fmt::format("steer-inbound-{}", netns.id());
}

Result<Inbound> Inbound::attach(const PinDir& pins, const InboundOptions& options, std::span<const int> sockets) {
  Result<std::vector<InboundPrefix>> prefixes = compile_inbound(options.rules);
  if (!prefixes) return prefixes.error();
  Result<net::NetworkNamespace> netns = net::NetworkNamespace::open(options.netns);
  if (!netns) return netns.error();
  Result<Object<inbound_bpf>> object = Object<inbound_bpf>::open(&pins);
  if (!object) return object.error();
  inbound_bpf& inbound = *object->get();
  inbound.rodata->inbound_settings = {options.drop_when_missing ? 1u : 0u, options.loopback ? 1u : 0u};
  if (Result<void> loaded = object->load(); !loaded) return loaded.error();
  if (Result<void> done = write_rules(bpf_map__fd(inbound.maps.fp_inbound_rules), *prefixes); !done) {
    return done.error();
  }
  Inbound out(Fd(fcntl(bpf_map__fd(inbound.maps.fp_inbound_sockets), F_DUPFD_CLOEXEC, 0)));
  for (uint32_t index = 0; index < sockets.size(); ++index) {
    if (sockets[index] < 0) continue;
    if (Result<void> done = out.set_socket(index, sockets[index]); !done) return done.error();
  }
  const Place place{netns->fd(), netns->id(), netns->path()};
  const std::string link = link_name(*netns);
  if (Result<void> done = attach_netns(pins, inbound.progs.inbound, place, link); !done) return done.error();
  return out;
}

Result<void> Inbound::set_socket(uint32_t index, int fd) { return put_socket(sockets_.get(), index, fd); }

}  // namespace millrace::fastpath
