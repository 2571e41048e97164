#include "fastpath/capture_rules.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <cerrno>

#include "fastpath/cgroup.h"
#include "fastpath/object.h"
#include "fastpath/wire.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

constexpr size_t kPortWords = 65536 / 64;
constexpr uint32_t kInclude = 1;
constexpr uint32_t kExclude = 0;

Error invalid(std::string what) { return {ErrorCode::kInvalidArgument, Side::kInternal, 0, std::move(what)}; }

Result<fp_endpoint_addr> listener(net::Address address, net::Address::Kind kind, std::string_view loopback) {
  if (address.kind() != kind || address.port() == 0) {
    return invalid(fmt::format("'{}' is no capture listener of that family with a port", address.to_string()));
  }
  if (address.is_any()) address = net::Address::parse_ip(loopback, address.port()).value();
  return wire_endpoint(address, IPPROTO_TCP);
}

Result<void> compile_listeners(const CaptureOptions& options, fp_capture_settings& settings) {
  if (options.listener_v4.empty() && options.listener_v6.empty()) return invalid("capture needs a listener");
  if (!options.listener_v4.empty()) {
    Result<fp_endpoint_addr> v4 = listener(options.listener_v4, net::Address::Kind::kIpv4, "127.0.0.1");
    if (!v4) return v4.error();
    settings.v4 = *v4;
    settings.has_v4 = 1;
  }
  if (!options.listener_v6.empty()) {
    Result<fp_endpoint_addr> v6 = listener(options.listener_v6, net::Address::Kind::kIpv6, "::1");
    if (!v6) return v6.error();
    settings.v6 = *v6;
    settings.has_v6 = 1;
  }
  return {};
}

void set_ports(std::vector<uint64_t>& words, const PortRange& range, bool wanted) {
  for (uint32_t port = range.first; port <= range.last; ++port) {
    const uint64_t bit = uint64_t{1} << (port % 64);
    words[port / 64] = wanted ? words[port / 64] | bit : words[port / 64] & ~bit;
  }
}

std::vector<uint64_t> compile_ports(const CaptureOptions& options) {
  std::vector<uint64_t> words(kPortWords, options.include_ports.empty() ? ~uint64_t{0} : 0);
  for (const PortRange& range : options.include_ports) set_ports(words, range, true);
  for (const PortRange& range : options.exclude_ports) set_ports(words, range, false);
  return words;
}

std::pair<fp_prefix, uint32_t> address_rule(const net::Cidr& cidr, uint32_t rule) { return {wire_prefix(cidr), rule}; }

void compile_addresses(const CaptureOptions& options, CaptureRules& rules) {
  rules.settings.other_addresses = options.include_addresses.empty() ? kInclude : kExclude;
  const auto exclude = [&](std::string_view ip, uint32_t length) {
    rules.addresses.push_back(address_rule({net::Address::parse_ip(ip, 0).value(), length}, kExclude));
  };
  exclude("fe80::", 10);  // means nothing without its device, which the daemon is not told
  if (!options.loopback) {
    exclude("127.0.0.0", 8);
    exclude("::1", 128);
    exclude("0.0.0.0", 32);  // to the kernel another name for the loopback address
    exclude("::", 128);
  }
  for (const net::Cidr& cidr : options.include_addresses) rules.addresses.push_back(address_rule(cidr, kInclude));
  for (const net::Cidr& cidr : options.exclude_addresses) rules.addresses.push_back(address_rule(cidr, kExclude));
}

Result<void> compile_cgroups(const std::vector<std::string>& paths, uint32_t rule, CaptureRules& rules) {
  for (const std::string& path : paths) {
    Result<Cgroup> cgroup = Cgroup::open(path);
    if (!cgroup) return cgroup.error();
    if (cgroup->level() >= FP_CGROUP_LEVELS) {
      return invalid(fmt::format("the cgroup {} is nested more than {} deep", path, FP_CGROUP_LEVELS - 1));
    }
    rules.settings.cgroup_levels |= 1u << cgroup->level();
    rules.cgroups.emplace_back(cgroup->id(), rule);
  }
  return {};
}

template <class Entries>
Result<void> write_entries(int map, const Entries& entries, const char* what) {
  for (const auto& [key, value] : entries) {
    if (bpf_map_update_elem(map, &key, &value, BPF_ANY) != 0) {
      return bpf_failure(errno, fmt::format("writing a capture rule for {}", what));
    }
  }
  return {};
}

}  // namespace

Result<CaptureRules> CaptureRules::compile(const CaptureOptions& options) {
  CaptureRules rules;
  rules.settings.enabled = 1;
  rules.settings.refuse = options.refuse_when_dead ? 1 : 0;
  if (Result<void> done = compile_listeners(options, rules.settings); !done) return done.error();
  rules.port_words = compile_ports(options);
  compile_addresses(options, rules);
  rules.settings.other_users = options.include_users.empty() ? kInclude : kExclude;
  for (const uint32_t user : options.include_users) rules.users.emplace_back(user, kInclude);
  for (const uint32_t user : options.exclude_users) rules.users.emplace_back(user, kExclude);
  rules.settings.other_cgroups = options.include_cgroups.empty() ? kInclude : kExclude;
  if (Result<void> done = compile_cgroups(options.include_cgroups, kInclude, rules); !done) return done.error();
  if (Result<void> done = compile_cgroups(options.exclude_cgroups, kExclude, rules); !done) return done.error();
  return rules;
}

Result<void> write_rules(const CaptureRules& rules, const CaptureMaps& maps) {
  for (uint32_t word = 0; word < rules.port_words.size(); ++word) {
    if (rules.port_words[word] == 0) continue;
    if (bpf_map_update_elem(maps.ports, &word, &rules.port_words[word], BPF_ANY) != 0) {
      return bpf_failure(errno, "writing the capture rules for ports");
    }
  }
  if (Result<void> done = write_entries(maps.addresses, rules.addresses, "an address range"); !done) return done;
  if (Result<void> done = write_entries(maps.users, rules.users, "a user"); !done) return done;
  return write_entries(maps.cgroups, rules.cgroups, "a cgroup");
}

}  // namespace millrace::fastpath
