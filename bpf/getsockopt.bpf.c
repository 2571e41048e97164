// cgroup/getsockopt, opt-in: answers SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of captured connections as netfilter does
// for redirected ones, so that a third-party proxy needs no change.
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include "lib/addr.h"
#include "lib/counters.h"
#include "lib/original.h"

char LICENSE[] SEC("license") = "GPL";

#define FP_SOL_IP 0
#define FP_SOL_IPV6 41
#define FP_SO_ORIGINAL_DST 80  // IP6T_SO_ORIGINAL_DST is the same number

static __always_inline int answer_v4(struct bpf_sockopt *ctx, const struct fp_endpoint_addr *dst) {
  struct sockaddr_in *out = ctx->optval;
  if (!addr_is_v4(&dst->addr) || (void *)(out + 1) > ctx->optval_end) return 0;
  __builtin_memset(out, 0, sizeof(*out));
  out->sin_family = FP_AF_INET;
  out->sin_port = dst->port;
  out->sin_addr.s_addr = dst->addr.w[3];
  ctx->optlen = sizeof(*out);
  return 1;
}

static __always_inline int answer_v6(struct bpf_sockopt *ctx, const struct fp_endpoint_addr *dst) {
  struct sockaddr_in6 *out = ctx->optval;
  if (addr_is_v4(&dst->addr) || (void *)(out + 1) > ctx->optval_end) return 0;
  __builtin_memset(out, 0, sizeof(*out));
  out->sin6_family = FP_AF_INET6;
  out->sin6_port = dst->port;
  __builtin_memcpy(&out->sin6_addr, &dst->addr, sizeof(out->sin6_addr));
  ctx->optlen = sizeof(*out);
  return 1;
}

SEC("cgroup/getsockopt")
int original_opt(struct bpf_sockopt *ctx) {
  struct bpf_sock *sk = ctx->sk;
  struct fp_original *original;
  if (ctx->optname != FP_SO_ORIGINAL_DST || (ctx->level != FP_SOL_IP && ctx->level != FP_SOL_IPV6)) return 1;
  original = sk ? bpf_sk_storage_get(&fp_originals, sk, NULL, 0) : NULL;
  if (!original) return 1;
  if (!(ctx->level == FP_SOL_IP ? answer_v4(ctx, &original->dst) : answer_v6(ctx, &original->dst))) return 1;
  ctx->retval = 0;
  count(FP_ORIGINAL_ASKED);
  return 1;
}
