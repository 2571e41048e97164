// bpf_iter over the storage of client sockets: how many connections to one endpoint of a service there still are, in
// whatever network namespace. The daemon runs it after it has reset those that it can reach.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "lib/addr.h"

char LICENSE[] SEC("license") = "GPL";

#define LEFTOVER_TCP_CLOSE 7

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
  volatile unsigned char skc_state;
};

struct sock {
  struct sock_common __sk_common;
};

#pragma clang attribute pop

// What the kernel hands to the program for each socket, and once more at the end, without one.
struct bpf_iter__bpf_sk_storage_map {
  __bpf_md_ptr(struct bpf_iter_meta *, meta);
  __bpf_md_ptr(struct bpf_map *, map);
  __bpf_md_ptr(struct sock *, sk);
  __bpf_md_ptr(void *, value);
};

// Set by the daemon before each run, and read after it.
struct fp_endpoint_addr leftover_service = {}, leftover_endpoint = {};
__u32 leftover_count = 0;

SEC("iter/bpf_sk_storage_map")
int count_leftover(struct bpf_iter__bpf_sk_storage_map *ctx) {
  struct sock *sk = ctx->sk;
  struct fp_dialled *dialled = ctx->value;
  if (!sk || !dialled || dialled->how != FP_HOW_BALANCED) return 0;
  if (!same_endpoint(&dialled->original, &leftover_service)) return 0;
  if (!same_endpoint(&dialled->target, &leftover_endpoint)) return 0;
  if (sk->__sk_common.skc_state == LEFTOVER_TCP_CLOSE) return 0;
  leftover_count += 1;
  return 0;
}
