#include "fastpath/own_process.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>

#include "fastpath/object.h"
#include "fp_types.h"
#include "skel/own.skel.h"

namespace millrace::fastpath {

using base::Result;

namespace {

uint64_t pid_namespace() {
  struct stat info{};
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

Result<void> run(int program, bool leave) {
  fp_own_request request{};
  request.own.pid_namespace = pid_namespace();
  request.own.pid = static_cast<uint32_t>(getpid());
  request.leave = leave ? 1 : 0;
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof request);
  if (bpf_prog_test_run_opts(program, &options) != 0) return bpf_failure(errno, "running the BPF program own_process");
  const int answer = static_cast<int>(options.retval);
  if (answer != 0) return bpf_failure(-answer, "writing down the daemon's process");
  return {};
}

// Only processes of our own pid namespace can be judged from here.
void forget_dead_processes(int map) {
  std::vector<uint32_t> dead;
  uint32_t key = 0;
  const uint32_t* previous = nullptr;
  while (bpf_map_get_next_key(map, previous, &key) == 0) {
    fp_own own{};
    if (bpf_map_lookup_elem(map, &key, &own) == 0 && own.pid_namespace == pid_namespace() &&
        kill(static_cast<pid_t>(own.pid), 0) != 0 && errno == ESRCH) {
      dead.push_back(key);
    }
    previous = &key;
  }
  for (const uint32_t id : dead) bpf_map_delete_elem(map, &id);
}

}  // namespace

Result<OwnProcess> OwnProcess::enter(const PinDir& pins) {
  Result<Object<own_bpf>> object = Object<own_bpf>::open(&pins);
  if (!object) return object.error();
  if (Result<void> loaded = object->load(); !loaded) return loaded.error();
  forget_dead_processes(bpf_map__fd(object->get()->maps.fp_own_processes));
  Fd program(fcntl(bpf_program__fd(object->get()->progs.own_process), F_DUPFD_CLOEXEC, 0));
  if (!program) return bpf_failure(errno, "keeping a BPF program");
  if (Result<void> entered = run(program.get(), false); !entered) return entered.error();
  return OwnProcess(std::move(program));
}

OwnProcess::~OwnProcess() {
  if (program_) (void)run(program_.get(), true).ok();
}

}  // namespace millrace::fastpath
