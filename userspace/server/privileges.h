// Least privilege: a daemon that has set up its kernel programs needs few of root's capabilities from then on. Linux
// keeps capabilities per thread, so this comes before the worker threads start; capabilities(7).
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/result.h"

namespace millrace::server {

// Keeps of the calling thread's permitted and effective capabilities those given (numbers of <linux/capability.h>),
// drops the rest for good, and for programs it might execute (no_new_privs). Those it does not have are not an error.
base::Result<void> keep_only(std::initializer_list<int> capabilities);

// The names of the calling thread's effective capabilities among CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, for messages:
// "CAP_NET_ADMIN, CAP_BPF"; "none".
std::string fast_path_capabilities();

}  // namespace millrace::server
