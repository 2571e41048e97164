// Maps and settings of the short-circuit. Nothing of it is pinned: it is of use only while the daemon lives. Sockets
// that are members keep programs and maps alive until they close, so a daemon that dies takes nothing from them.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_splice.h"

const volatile __u32 splice_budget;  // unread bytes that a reader may have waiting
const volatile __u32 splice_bulk;    // bytes in one direction of a hop, without an answer; 0: no limit
const volatile __u32 splice_floods;  // 1: a flood of small messages may stay; 0: it is put back on TCP
volatile __u32 splice_enabled;       // 0: every message passes

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct fp_splice_service);
  __type(value, __u32);
} splice_services SEC(".maps");

// Connections of which only the dialling end is known yet.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct fp_splice_tuple);
  __type(value, __u64);
} splice_dialling SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FP_SPLICE_SOCKS_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u64);
  __type(value, struct fp_splice_sock);
} splice_socks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, FP_SPLICE_SOCKS_MAX);
  __type(key, __u64);
  __type(value, __u64);
} splice_members SEC(".maps");

// Joined apps by FP_SPLICE_SEAT: members that a redirect finds without a search. Who sat there before stays a member.
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, 2 * FP_SPLICE_PAIRS_MAX);
  __type(key, __u32);
  __type(value, __u64);
} splice_seats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct fp_splice_route);
} splice_routes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, FP_SPLICE_PAIRS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct fp_splice_pair);
} splice_pairs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, FP_SPLICE_REASON_COUNT);
  __type(key, __u32);
  __type(value, struct fp_splice_count);
} splice_counts SEC(".maps");

static __always_inline void splice_count(__u32 reason, __u32 bytes) {
  struct fp_splice_count *cell = bpf_map_lookup_elem(&splice_counts, &reason);
  if (!cell) return;
  cell->messages += 1;
  cell->bytes += bytes;
}
