// Run once by the daemon through BPF_PROG_RUN: writes down the id of the calling process as the kernel's helpers see
// it, which in a pid namespace is not the one that getpid() says.
#include "lib/own.h"

char LICENSE[] SEC("license") = "GPL";

SEC("syscall")
int own_process(struct fp_own_request *request) {
  __u32 id = current_process();
  struct fp_own own = request->own;
  if (request->leave) return bpf_map_delete_elem(&fp_own_processes, &id);
  return bpf_map_update_elem(&fp_own_processes, &id, &own, BPF_ANY);
}
