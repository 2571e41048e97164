// Connect-time services: the endpoint for a dialled address. See fp_steering.h for how a set is replaced.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_steering.h"
#include "lib/counters.h"

#define FP_SERVICE_READS 4

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct fp_endpoint_addr);
  __type(value, struct fp_service);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_services SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct fp_slot);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_slots SEC(".maps");

enum service_answer { SERVICE_NONE, SERVICE_CHOSEN, SERVICE_EMPTY, SERVICE_REFUSES };

// `random`: the upper half chooses the slot, the lower one between its endpoints.
static __always_inline enum service_answer choose_endpoint(const struct fp_endpoint_addr *dialled, __u64 random,
                                                           struct fp_endpoint_addr *endpoint) {
  for (int i = 0; i < FP_SERVICE_READS; ++i) {
    struct fp_service *found = bpf_map_lookup_elem(&fp_services, dialled), service;
    struct fp_slot *slot;
    __u32 at;
    if (!found) return SERVICE_NONE;
    service = *found;
    if (!service.slot_count) return service.refuse ? SERVICE_REFUSES : SERVICE_EMPTY;
    at = service.first_slot + (((random >> 32) * service.slot_count) >> 32);
    slot = bpf_map_lookup_elem(&fp_slots, &at);
    if (!slot) continue;
    *endpoint = (__u32)random <= slot->first_share ? slot->first : slot->second;
    barrier();  // the generation is read last
    if (*(volatile __u32 *)&slot->generation == service.generation) return SERVICE_CHOSEN;
  }
  count(FP_SERVICE_CHANGING);
  return SERVICE_NONE;
}

static __always_inline __u64 random64(void) {
  return ((__u64)bpf_get_prandom_u32() << 32) | bpf_get_prandom_u32();
}

// The finaliser of MurmurHash3: neighbouring cookies fall far apart.
static __always_inline __u64 mix64(__u64 x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}
