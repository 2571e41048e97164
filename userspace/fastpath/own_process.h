// Marks this process as the daemon, whose sockets no program touches. The mark is the process id as the kernel's first
// pid namespace counts it, found by running a tiny BPF program in this process, so it holds in containers as well, and
// for all of the process's threads, io_uring's included: no socket needs to be marked. Main thread, before programs are
// attached; the destructor takes the mark back, and a start removes marks that crashed processes left.
#pragma once
#include "base/result.h"
#include "fastpath/pin_dir.h"

namespace millrace::fastpath {

class OwnProcess {
 public:
  static base::Result<OwnProcess> enter(const PinDir& pins);
  OwnProcess(OwnProcess&&) = default;
  OwnProcess& operator=(OwnProcess&&) = default;
  ~OwnProcess();

 private:
  explicit OwnProcess(Fd program) : program_(std::move(program)) {}
  Fd program_;
};

}  // namespace millrace::fastpath
