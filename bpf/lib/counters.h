// Counting by reason: one per-CPU cell for each entry of include/fp_reasons.h.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_reasons.h"
#include "fp_types.h"

_Static_assert(FP_REASON_COUNT <= FP_COUNTERS_MAX, "more reasons than cells");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, FP_COUNTERS_MAX);
  __type(key, __u32);
  __type(value, __u64);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_counters SEC(".maps");

static __always_inline void count(__u32 reason) {
  __u64 *cell = bpf_map_lookup_elem(&fp_counters, &reason);
  if (cell) *cell += 1;
}
