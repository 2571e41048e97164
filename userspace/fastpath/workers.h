// The program that chooses among the listening sockets of one SO_REUSEPORT group: the worker of the CPU that received
// the connection, and, for connections still queued when a listener closes (reload, drain, restart), a worker that
// lives. Needs kernel 5.14. The program and its maps belong to the group of sockets and go with its last one; a new
// daemon that joins the group attaches its own, after which new and migrated connections are its. Main thread.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "fastpath/pin_dir.h"

namespace millrace::fastpath {

struct WorkerSocket {
  int fd = -1;                  // listening (TCP) or bound (UDP), with SO_REUSEPORT; all bound to one address
  std::vector<uint32_t> cpus;   // whose connections it gets; those that no socket names are spread
};

base::Result<void> steer_workers(const PinDir& pins, std::span<const WorkerSocket> sockets);

}  // namespace millrace::fastpath
