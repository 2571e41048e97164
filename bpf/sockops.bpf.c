// sockops: carries the original destination of a captured connection from the client's end to the daemon's. The
// client's end is established first: tcp_finish_connect runs it before the final ACK is sent. With TCP Fast Open it may
// be the other way round; then the entry of the flow stays, and the daemon reads that.
#include "lib/counters.h"
#include "lib/dialled.h"
#include "lib/original.h"

char LICENSE[] SEC("license") = "GPL";

// The IPv4 addresses are read before the branch: else the compiler merges the loads of both branches into one from a
// computed address, which the verifier refuses for a context.
static __always_inline void read_addresses(struct bpf_sock_ops *ctx, struct fp_addr *local, struct fp_addr *remote) {
  __u32 local_v4 = ctx->local_ip4, remote_v4 = ctx->remote_ip4;
  barrier();
  if (ctx->family == FP_AF_INET) {
    addr_set_v4(local, local_v4);
    addr_set_v4(remote, remote_v4);
    return;
  }
  local->w[0] = ctx->local_ip6[0];
  local->w[1] = ctx->local_ip6[1];
  local->w[2] = ctx->local_ip6[2];
  local->w[3] = ctx->local_ip6[3];
  remote->w[0] = ctx->remote_ip6[0];
  remote->w[1] = ctx->remote_ip6[1];
  remote->w[2] = ctx->remote_ip6[2];
  remote->w[3] = ctx->remote_ip6[3];
}

// local_port is in host order, remote_port in network order with its bytes in the upper half.
static __always_inline __u16 local_port(struct bpf_sock_ops *ctx) { return bpf_htons(ctx->local_port); }
static __always_inline __u16 remote_port(struct bpf_sock_ops *ctx) { return bpf_htons(bpf_ntohl(ctx->remote_port)); }

static __always_inline void publish(struct bpf_sock_ops *ctx) {
  struct fp_dialled *dialled = dialled_of(ctx->sk);
  struct fp_flow flow = {};
  struct fp_original original = {};
  if (!dialled || dialled->how == FP_HOW_BALANCED) return;
  flow.netns = bpf_get_netns_cookie(ctx);
  read_addresses(ctx, &flow.client, &flow.server);
  flow.client_port = local_port(ctx);
  flow.server_port = remote_port(ctx);
  if (dialled->how == FP_HOW_DIRECT) {
    bpf_map_delete_elem(&fp_flows, &flow);
    return;
  }
  original.dst = dialled->original;
  count(bpf_map_update_elem(&fp_flows, &flow, &original, BPF_ANY) ? FP_ORIGINAL_LOST : FP_ORIGINAL_PUBLISHED);
}

static __always_inline void deliver(struct bpf_sock_ops *ctx) {
  struct fp_flow flow = {};
  struct fp_original *original, *kept;
  struct bpf_sock *sk = ctx->sk;
  if (!sk) return;
  flow.netns = bpf_get_netns_cookie(ctx);
  read_addresses(ctx, &flow.server, &flow.client);
  flow.server_port = local_port(ctx);
  flow.client_port = remote_port(ctx);
  original = bpf_map_lookup_elem(&fp_flows, &flow);
  if (!original) return;
  kept = bpf_sk_storage_get(&fp_originals, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (!kept) {
    count(FP_ORIGINAL_LOST);
    return;
  }
  *kept = *original;
  bpf_map_delete_elem(&fp_flows, &flow);
  count(FP_ORIGINAL_DELIVERED);
}

SEC("sockops")
int original_dst(struct bpf_sock_ops *ctx) {
  if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB) publish(ctx);
  if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) deliver(ctx);
  return 1;
}
