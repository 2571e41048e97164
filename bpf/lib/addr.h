// Addresses in their one form (include/fp_types.h), read from and written to the contexts of socket hooks.
#pragma once
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "fp_types.h"

#define FP_AF_INET 2
#define FP_AF_INET6 10
#define FP_SOCK_STREAM 1
#define FP_SOCK_DGRAM 2
#define FP_IPPROTO_MPTCP 262

static __always_inline void addr_set_v4(struct fp_addr *addr, __u32 v4) {
  addr->w[0] = 0;
  addr->w[1] = 0;
  addr->w[2] = bpf_htonl(0xffff);
  addr->w[3] = v4;
}

static __always_inline int addr_is_v4(const struct fp_addr *addr) {
  return !addr->w[0] && !addr->w[1] && addr->w[2] == bpf_htonl(0xffff);
}

static __always_inline int same_endpoint(const struct fp_endpoint_addr *a, const struct fp_endpoint_addr *b) {
  return a->addr.w[3] == b->addr.w[3] && a->port == b->port && a->addr.w[2] == b->addr.w[2] &&
         a->addr.w[1] == b->addr.w[1] && a->addr.w[0] == b->addr.w[0] && a->proto == b->proto;
}

// Member by member: clang 14 loses the assignment of a whole volatile struct.
static __always_inline void load_endpoint(struct fp_endpoint_addr *to, const volatile struct fp_endpoint_addr *from) {
  to->addr.w[0] = from->addr.w[0];
  to->addr.w[1] = from->addr.w[1];
  to->addr.w[2] = from->addr.w[2];
  to->addr.w[3] = from->addr.w[3];
  to->port = from->port;
  to->proto = from->proto;
  to->pad = 0;
}

// 0 for what is neither TCP nor UDP: SCTP, ping sockets.
static __always_inline __u8 proto_of(struct bpf_sock_addr *ctx) {
  __u32 proto = ctx->protocol;
  if (proto == FP_IPPROTO_MPTCP) return IPPROTO_TCP;
  return proto == IPPROTO_TCP || proto == IPPROTO_UDP ? proto : 0;
}

static __always_inline void read_v4(struct bpf_sock_addr *ctx, struct fp_endpoint_addr *out) {
  addr_set_v4(&out->addr, ctx->user_ip4);
  out->port = ctx->user_port;
  out->proto = proto_of(ctx);
  out->pad = 0;
}

static __always_inline void read_v6(struct bpf_sock_addr *ctx, struct fp_endpoint_addr *out) {
  out->addr.w[0] = ctx->user_ip6[0];
  out->addr.w[1] = ctx->user_ip6[1];
  out->addr.w[2] = ctx->user_ip6[2];
  out->addr.w[3] = ctx->user_ip6[3];
  out->port = ctx->user_port;
  out->proto = proto_of(ctx);
  out->pad = 0;
}

static __always_inline void write_v4(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *to) {
  ctx->user_ip4 = to->addr.w[3];
  ctx->user_port = to->port;
}

static __always_inline void write_v6(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *to) {
  ctx->user_ip6[0] = to->addr.w[0];
  ctx->user_ip6[1] = to->addr.w[1];
  ctx->user_ip6[2] = to->addr.w[2];
  ctx->user_ip6[3] = to->addr.w[3];
  ctx->user_port = to->port;
}
