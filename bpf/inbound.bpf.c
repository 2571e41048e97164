// sk_lookup: connections and datagrams for ranges of local addresses and ports go to listeners of ours; getsockname()
// of an accepted socket still shows the original destination. One program for each network namespace, with maps of its
// own.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_steering.h"
#include "lib/addr.h"
#include "lib/counters.h"

char LICENSE[] SEC("license") = "GPL";

#define LOOPBACK_IFINDEX 1  // in every network namespace

const volatile struct fp_inbound_settings inbound_settings = {};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 4096);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct fp_prefix);
  __type(value, struct fp_inbound_rule);
} fp_inbound_rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} fp_inbound_sockets SEC(".maps");

static __always_inline struct fp_inbound_rule *find_rule(struct bpf_sk_lookup *ctx) {
  struct fp_prefix key = {.bits = 160, .kind = ctx->protocol};
  __u32 v4 = ctx->local_ip4;
  barrier();  // or the loads of both branches become one from a computed address, which contexts do not allow
  if (ctx->family == FP_AF_INET) {
    addr_set_v4(&key.addr, v4);
    key.kind += FP_KIND_V4;
  } else {
    key.addr.w[0] = ctx->local_ip6[0];
    key.addr.w[1] = ctx->local_ip6[1];
    key.addr.w[2] = ctx->local_ip6[2];
    key.addr.w[3] = ctx->local_ip6[3];
  }
  return bpf_map_lookup_elem(&fp_inbound_rules, &key);
}

// Whether the connection comes from this network namespace. The device says so for the addresses of the loopback device
// only: for another device's address it is that device, though nothing passed it. But a client that asked for no source
// address has then got the one that it dials, which nobody outside can have.
static __always_inline int is_local(struct bpf_sk_lookup *ctx) {
  __u32 local_v4 = ctx->local_ip4, remote_v4 = ctx->remote_ip4;
  if (ctx->ingress_ifindex == LOOPBACK_IFINDEX) return 1;
  barrier();
  if (ctx->family == FP_AF_INET) return local_v4 == remote_v4;
  return ctx->local_ip6[0] == ctx->remote_ip6[0] && ctx->local_ip6[1] == ctx->remote_ip6[1] &&
         ctx->local_ip6[2] == ctx->remote_ip6[2] && ctx->local_ip6[3] == ctx->remote_ip6[3];
}

// The first range that has the port; 0 if none has.
static __always_inline int find_socket(struct fp_inbound_rule *rule, __u32 port, __u32 *socket) {
  for (__u32 i = 0; i < FP_INBOUND_RANGES && i < rule->count; ++i) {
    if (port < rule->ranges[i].first || port > rule->ranges[i].last) continue;
    *socket = rule->ranges[i].socket;
    return 1;
  }
  return 0;
}

SEC("sk_lookup")
int inbound(struct bpf_sk_lookup *ctx) {
  struct fp_inbound_rule *rule;
  struct bpf_sock *sk;
  __u32 socket = 0;
  long refused = -1;
  if (!inbound_settings.loopback && is_local(ctx)) return SK_PASS;
  rule = find_rule(ctx);
  if (!rule || !find_socket(rule, ctx->local_port, &socket)) {
    count(FP_INBOUND_NO_RULE);
    return SK_PASS;
  }
  sk = bpf_map_lookup_elem(&fp_inbound_sockets, &socket);
  if (sk) {
    refused = bpf_sk_assign(ctx, sk, 0);
    bpf_sk_release(sk);
  }
  if (!refused) {
    count(FP_INBOUND_STEERED);
    return SK_PASS;
  }
  count(inbound_settings.drop_when_missing ? FP_INBOUND_DROPPED : FP_INBOUND_PASSED);
  return inbound_settings.drop_when_missing ? SK_DROP : SK_PASS;
}
