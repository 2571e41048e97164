// cgroup/connect4|6 and getpeername4|6: connect-time services and capture.
#include "lib/addr.h"
#include "lib/capture.h"
#include "lib/counters.h"
#include "lib/dialled.h"
#include "lib/own.h"
#include "lib/service.h"
#include "lib/verdict.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct fp_capture_settings capture_settings = {};

static __always_inline enum verdict keep(struct bpf_sock_addr *ctx, __u32 reason) {
  forget_dialled(ctx);
  count(reason);
  return KEEP;
}

#define LOOPBACK_IFINDEX 1  // in every network namespace

static __always_inline int bound_to_device(struct bpf_sock_addr *ctx) {
  struct bpf_sock *sk = ctx->sk;
  return sk && sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_IFINDEX;
}

static __always_inline enum verdict capture(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *to,
                                            struct fp_endpoint_addr *target) {
  int v4 = addr_is_v4(&to->addr);
  if (!capture_settings.enabled || to->proto != IPPROTO_TCP || !capture_wanted(&capture_settings, to)) {
    return keep(ctx, FP_PASS_NO_RULE);
  }
  if (v4 ? !capture_settings.has_v4 : !capture_settings.has_v6) return keep(ctx, FP_PASS_NO_FAMILY);
  load_endpoint(target, v4 ? &capture_settings.v4 : &capture_settings.v6);
  if (same_endpoint(to, target)) {
    remember_dialled(ctx, to, target, FP_HOW_DIRECT);
    count(FP_PASS_TO_LISTENER);
    return KEEP;
  }
  if (bound_to_device(ctx)) return keep(ctx, FP_PASS_BOUND);
  if (!listens(ctx, target)) {
    if (!capture_settings.refuse) return keep(ctx, FP_CAPTURE_BYPASSED);
    count(FP_CAPTURE_REFUSED);
    return REFUSE;
  }
  if (!remember_dialled(ctx, to, target, FP_HOW_CAPTURED)) return keep(ctx, FP_CAPTURE_NO_STORAGE);
  count(FP_CAPTURED);
  return SEND;
}

static __always_inline enum verdict steer(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *to,
                                          struct fp_endpoint_addr *target) {
  if (!to->proto) return KEEP;
  if (is_own()) return keep(ctx, FP_PASS_OWN);
  switch (choose_endpoint(to, random64(), target)) {
    case SERVICE_CHOSEN:
      if (!remember_dialled(ctx, to, target, FP_HOW_BALANCED)) return keep(ctx, FP_SERVICE_NO_STORAGE);
      count(to->proto == IPPROTO_TCP ? FP_BALANCED_TCP : FP_BALANCED_UDP);
      return SEND;
    case SERVICE_REFUSES:
      count(FP_SERVICE_EMPTY_REFUSED);
      return REFUSE;
    case SERVICE_EMPTY:
      return keep(ctx, FP_SERVICE_EMPTY_PASSED);
    default:
      return capture(ctx, to, target);
  }
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr to, target = {};
  read_v4(ctx, &to);
  enum verdict verdict = steer(ctx, &to, &target);
  if (verdict == SEND) write_v4(ctx, &target);
  return answer(verdict);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr to, target = {};
  read_v6(ctx, &to);
  enum verdict verdict = steer(ctx, &to, &target);
  if (verdict == SEND) write_v6(ctx, &target);
  return answer(verdict);
}

static __always_inline const struct fp_endpoint_addr *shown_peer(struct bpf_sock_addr *ctx,
                                                                 const struct fp_endpoint_addr *peer) {
  struct fp_dialled *dialled = dialled_of(ctx->sk);
  if (!dialled || !same_endpoint(&dialled->target, peer)) return NULL;
  count(FP_PEERNAME_SHOWN);
  return &dialled->original;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr peer;
  read_v4(ctx, &peer);
  const struct fp_endpoint_addr *shown = shown_peer(ctx, &peer);
  if (shown) write_v4(ctx, shown);
  return 1;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr peer;
  read_v6(ctx, &peer);
  const struct fp_endpoint_addr *shown = shown_peer(ctx, &peer);
  if (shown) write_v6(ctx, shown);
  return 1;
}
