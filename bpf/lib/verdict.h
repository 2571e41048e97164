// What a cgroup address hook decides, and how it says so to the kernel.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define REFUSED (-111)  // ECONNREFUSED

enum verdict { KEEP, SEND, REFUSE };  // as it was dialled; to the target instead; not at all

// What the hook returns once the target is written.
static __always_inline int answer(enum verdict verdict) {
  if (verdict != REFUSE) return 1;
  bpf_set_retval(REFUSED);
  return 0;
}
