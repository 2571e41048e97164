// Telling the daemon's own sockets from everybody else's, so that they never loop: the daemon's process (thread group)
// ids are in a map. io_uring's workers and SQPOLL threads have the same id. Hooks of sockets can ask for it since 6.1.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_steering.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct fp_own);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_own_processes SEC(".maps");

static __always_inline __u32 current_process(void) { return bpf_get_current_pid_tgid() >> 32; }

static __always_inline int is_own(void) {
  __u32 id = current_process();
  return bpf_map_lookup_elem(&fp_own_processes, &id) != NULL;
}
