#include "fastpath/workers.h"

#include <bpf/bpf.h>
#include <sys/socket.h>

#include <cerrno>

#include "fastpath/object.h"
#include "fp_steering.h"
#include "skel/reuseport.skel.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

Result<void> steer_workers(const PinDir& pins, std::span<const WorkerSocket> sockets) {
  if (sockets.empty() || sockets.size() > FP_WORKERS_MAX) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0, "a group of workers has 1 to 256 sockets"};
  }
  Result<Object<reuseport_bpf>> object = Object<reuseport_bpf>::open(&pins);
  if (!object) return object.error();
  reuseport_bpf& reuseport = *object->get();
  reuseport.rodata->worker_settings = {static_cast<uint32_t>(sockets.size())};
  if (Result<void> loaded = object->load(); !loaded) return loaded;
  const int workers = bpf_map__fd(reuseport.maps.fp_workers);
  const int cpu_workers = bpf_map__fd(reuseport.maps.fp_cpu_workers);
  for (uint32_t index = 0; index < sockets.size(); ++index) {
    const uint64_t value = static_cast<uint64_t>(sockets[index].fd);
    if (bpf_map_update_elem(workers, &index, &value, BPF_ANY) != 0) {
      return bpf_failure(errno, "giving a worker's socket to the program that chooses");
    }
    const uint32_t worker = index + 1;
    for (const uint32_t cpu : sockets[index].cpus) {
      if (bpf_map_update_elem(cpu_workers, &cpu, &worker, BPF_ANY) != 0) return bpf_failure(errno, "naming a CPU");
    }
  }
  const int program = bpf_program__fd(reuseport.progs.choose_worker);
  if (setsockopt(sockets[0].fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof program) != 0) {
    return bpf_failure(errno, "attaching the program that chooses workers");
  }
  return {};
}

}  // namespace millrace::fastpath
