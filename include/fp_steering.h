// Settings and map types of capture, connect-time services, inbound steering and the choice of workers. Compiles as BPF
// C and as C++20. Settings are read-only data of a program: a change of them is a new program in the same links.
#pragma once
#include "fp_types.h"

#define FP_CGROUP_LEVELS 16
#define FP_INBOUND_RANGES 16
#define FP_WORKERS_MAX 256
#define FP_CPUS_MAX 4096

struct fp_capture_settings {
  __u32 enabled;
  __u32 refuse;            // a connect when nobody listens on the capture address
  __u32 has_v4;
  __u32 has_v6;
  struct fp_endpoint_addr v4;
  struct fp_endpoint_addr v6;
  // What holds for an address, user or cgroup that no rule names.
  __u32 other_addresses;
  __u32 other_users;
  __u32 other_cgroups;
  __u32 cgroup_levels;     // bit n: a rule names a cgroup of level n
};

// Key of the tries of address ranges. IPv4 and IPv6 are kept apart, so that ::/0 says nothing of IPv4.
#define FP_KIND_V4 0x100
struct fp_prefix {
  __u32 bits;  // 32 for the kind, then those of the address, where an IPv4 prefix has 96 more than written
  __u32 kind;  // FP_KIND_V4 or 0; inbound rules add the protocol
  struct fp_addr addr;
};

// A service's endpoints are `slot_count` slots from `first_slot` on (Walker's alias method: each slot is drawn equally
// often, and holds one or two endpoints and the odds between them). The daemon writes the slots of a new generation to
// a free range and then replaces the service's value, so readers see the old set or the new one.
struct fp_service {
  __u32 generation;  // that of its slots; another one there means: read again
  __u32 first_slot;
  __u32 slot_count;  // 0: no healthy endpoint
  __u32 refuse;      // when empty: 1 refuses, 0 lets pass to whoever listens there
};

struct fp_slot {
  struct fp_endpoint_addr first;
  struct fp_endpoint_addr second;
  __u32 first_share;  // first is chosen if a random number of 32 bits is not above this
  __u32 generation;
};

// Which service an unconnected UDP socket asked when it sent to this endpoint.
struct fp_answer_key {
  __u64 socket;  // cookie
  struct fp_endpoint_addr endpoint;
  __u32 pad;
};

struct fp_inbound_settings {
  __u32 drop_when_missing;
  __u32 loopback;  // 1: what arrives on the loopback device as well
};

struct fp_port_range {
  __u16 first;  // host order
  __u16 last;
  __u32 socket;  // index in the map of sockets
};

// The ranges of one prefix, those of the shorter prefixes around it after its own.
struct fp_inbound_rule {
  __u32 count;
  struct fp_port_range ranges[FP_INBOUND_RANGES];
};

struct fp_worker_settings {
  __u32 workers;
};
