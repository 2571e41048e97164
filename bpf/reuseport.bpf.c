// sk_reuseport: a new connection goes to the worker of the CPU that received it, so that its interrupts, its softirq
// and its thread share one cache; connections still queued on a listener that closes move to one that lives. One
// program and one set of maps for each group of listening sockets.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fp_steering.h"
#include "lib/counters.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct fp_worker_settings worker_settings = {};

struct {
  __uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
  __uint(max_entries, FP_WORKERS_MAX);
  __type(key, __u32);
  __type(value, __u64);
} fp_workers SEC(".maps");

// Index of the worker plus one; 0: the CPU has none.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, FP_CPUS_MAX);
  __type(key, __u32);
  __type(value, __u32);
} fp_cpu_workers SEC(".maps");

static __always_inline int choose(struct sk_reuseport_md *ctx, __u32 worker, __u32 reason) {
  if (bpf_sk_select_reuseport(ctx, &fp_workers, &worker, 0)) return 0;
  count(ctx->migrating_sk ? FP_WORKER_MIGRATED : reason);
  return 1;
}

SEC("sk_reuseport/migrate")
int choose_worker(struct sk_reuseport_md *ctx) {
  __u32 cpu = bpf_get_smp_processor_id(), workers = worker_settings.workers;
  __u32 *own = bpf_map_lookup_elem(&fp_cpu_workers, &cpu);
  if (own && *own && choose(ctx, *own - 1, FP_WORKER_OF_CPU)) return SK_PASS;
  if (workers) {
    for (__u32 i = 0; i < FP_WORKERS_MAX && i < workers; ++i) {
      if (choose(ctx, (ctx->hash + i) % workers, FP_WORKER_OTHER)) return SK_PASS;
    }
  }
  count(FP_WORKER_KERNEL);
  return SK_PASS;
}
