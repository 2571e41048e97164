// Which connects are captured, and whether anybody is there to take them. A rule's value is 1 to include and 0 to
// exclude. The maps of rules belong to one load of the
// program: the daemon fills them before the program takes its place, so a set of rules is replaced as a whole.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_steering.h"
#include "lib/addr.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 65536 / 64);
  __type(key, __u32);
  __type(value, __u64);
} fp_capture_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 4096);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct fp_prefix);
  __type(value, __u32);
} fp_capture_cidrs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u32);
} fp_capture_users SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, __u32);
} fp_capture_cgroups SEC(".maps");

static __always_inline int port_wanted(__u16 port) {
  __u32 host = bpf_ntohs(port), word = host / 64;
  __u64 *bits = bpf_map_lookup_elem(&fp_capture_ports, &word);
  return bits && (*bits >> (host % 64) & 1);
}

static __always_inline int address_wanted(const struct fp_addr *addr, __u32 otherwise) {
  struct fp_prefix key = {.bits = 160, .kind = addr_is_v4(addr) ? FP_KIND_V4 : 0, .addr = *addr};
  __u32 *rule = bpf_map_lookup_elem(&fp_capture_cidrs, &key);
  return rule ? *rule : otherwise;
}

static __always_inline int user_wanted(__u32 otherwise) {
  __u32 user = bpf_get_current_uid_gid();
  __u32 *rule = bpf_map_lookup_elem(&fp_capture_users, &user);
  return rule ? *rule : otherwise;
}

// The rule nearest to the process's cgroup counts; levels that no rule names are not asked for.
static __always_inline int cgroup_wanted(__u32 levels, __u32 otherwise) {
  for (int level = FP_CGROUP_LEVELS - 1; level >= 0; --level) {
    __u64 id;
    __u32 *rule;
    if (!(levels >> level & 1)) continue;
    id = bpf_get_current_ancestor_cgroup_id(level);
    rule = id ? bpf_map_lookup_elem(&fp_capture_cgroups, &id) : NULL;
    if (rule) return *rule;
  }
  return otherwise;
}

static __always_inline int capture_wanted(const volatile struct fp_capture_settings *settings,
                                          const struct fp_endpoint_addr *to) {
  return port_wanted(to->port) && address_wanted(&to->addr, settings->other_addresses) &&
         user_wanted(settings->other_users) && cgroup_wanted(settings->cgroup_levels, settings->other_cgroups);
}

// Asked of the kernel's socket table in the client's own network namespace: there is no heartbeat that could be late.
static __always_inline int listens(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *at) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_sock *sk;
  int alive;
  if (addr_is_v4(&at->addr)) {
    tuple.ipv4.daddr = at->addr.w[3];
    tuple.ipv4.dport = at->port;
    sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
  } else {
    __builtin_memcpy(tuple.ipv6.daddr, at->addr.w, sizeof(tuple.ipv6.daddr));
    tuple.ipv6.dport = at->port;
    sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
  }
  if (!sk) return 0;
  alive = sk->state == BPF_TCP_LISTEN;
  bpf_sk_release(sk);
  return alive;
}
