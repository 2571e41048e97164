// What the fast path is told to do: plain structs, filled by the translation of millrace.fastpath.v1.FastPath or by
// tests. Paths of cgroups are below the v2 mount ("/apps"), or whole ("/sys/fs/cgroup/apps").
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fastpath/pin_dir.h"
#include "net/address.h"

namespace millrace::fastpath {

struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;
};

// Outbound TCP connects that are sent to a listener of the daemon. A connect is captured if each of the four kinds of
// rules wants it: one that a rule excludes is not, and where a kind has include rules only what they name is. Of
// several address rules the longest prefix counts, of several cgroup rules the nearest cgroup; a port that is both
// included and excluded is excluded.
struct CaptureOptions {
  // Where the daemon listens, in the client's network namespace; an unspecified address stands for the loopback
  // address. Empty: that family is let pass. Dialling ::ffff:a.b.c.d counts as IPv4.
  net::Address listener_v4;
  net::Address listener_v6;
  // Nobody listens there: false lets the connect pass as if there were no fast path, true answers ECONNREFUSED.
  bool refuse_when_dead = false;
  std::vector<PortRange> include_ports;
  std::vector<PortRange> exclude_ports;
  std::vector<net::Cidr> include_addresses;
  std::vector<net::Cidr> exclude_addresses;
  bool loopback = false;  // false: 127.0.0.0/8 and ::1 are excluded. Link-local IPv6 always is, unless included.
  std::vector<uint32_t> include_users;
  std::vector<uint32_t> exclude_users;
  std::vector<std::string> include_cgroups;
  std::vector<std::string> exclude_cgroups;
};

struct ServicesOptions {
  bool datagrams = true;            // unconnected UDP sockets as well, by four more hooks
  bool refuse_when_empty = false;   // no healthy endpoint: refuse; false: let pass to the daemon's listener
  bool reset_removed = false;       // reset connections to endpoints that are taken out
  std::vector<std::string> namespaces = {};  // paths of network namespaces whose connections are reset, besides our own
  uint32_t services_max = 4096;
  uint32_t slots_max = 65536;       // endpoints of all services; a set is in there twice while it is replaced
  uint32_t answers_max = 65536;     // (UDP socket, endpoint) pairs whose answers are shown as the service's
  bool operator==(const ServicesOptions&) const = default;
};

struct InboundRule {
  uint8_t protocol = 6;      // IPPROTO_TCP or IPPROTO_UDP
  net::Cidr destination;     // length 0: any address of the prefix's family
  PortRange ports;
  uint32_t socket = 0;       // which of the sockets given to Inbound
};

struct InboundOptions {
  std::string netns;               // path, such as /run/netns/a; empty: the daemon's own
  std::vector<InboundRule> rules;
  bool drop_when_missing = true;   // the rule's socket is closed: refuse, or let the kernel look on
  // Connections from the namespace itself as well. Without it the daemon reaches the applications behind its rules.
  bool loopback = false;
};

struct Options {
  std::string pin_dir{kDefaultPinDir};
  Claim claim = Claim::kIfFree;
  // Processes in and below these have their connects steered.
  std::vector<std::string> cgroups{"/"};
  // Where the daemon's listening sockets belong to; empty: its own cgroup.
  std::string daemon_cgroup;
  std::optional<CaptureOptions> capture;
  std::optional<ServicesOptions> services;
  std::vector<InboundOptions> inbound;
  // Third-party proxies, which ask SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of captured connections that they accept.
  std::vector<std::string> original_dst_cgroups;
  uint32_t flows_max = 65536;      // captured connections between connect and accept
};

}  // namespace millrace::fastpath
