// What a client socket dialled and where it was sent: storage of the socket, gone with it.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "lib/addr.h"

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct fp_dialled);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_dialled_sockets SEC(".maps");

static __always_inline struct fp_dialled *dialled_of(struct bpf_sock *sk) {
  return sk ? bpf_sk_storage_get(&fp_dialled_sockets, sk, NULL, 0) : NULL;
}

static __always_inline int remember_dialled(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *original,
                                            const struct fp_endpoint_addr *target, enum fp_how how) {
  struct bpf_sock *sk = ctx->sk;
  struct fp_dialled *dialled;
  if (!sk) return 0;
  dialled = bpf_sk_storage_get(&fp_dialled_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (!dialled) return 0;
  dialled->original = *original;
  dialled->target = *target;
  dialled->how = how;
  return 1;
}

// A UDP socket may dial again, a TCP socket after a failure: what it dialled before no longer counts.
static __always_inline void forget_dialled(struct bpf_sock_addr *ctx) {
  struct bpf_sock *sk = ctx->sk;
  if (dialled_of(sk)) bpf_sk_storage_delete(&fp_dialled_sockets, sk);
}
