// The original destination of captured connections: from the client's socket over the flow's entry to the accepted one.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "lib/addr.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct fp_flow);
  __type(value, struct fp_original);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct fp_original);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_originals SEC(".maps");
