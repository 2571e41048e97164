// Steering as a whole: owns the pin folder and the mark of the daemon's process, loads the programs, attaches them and
// replaces them when the options change. Main thread. What it attached stays when it goes: services go on balancing and
// captured connects follow the policy for a dead daemon, until the next start adopts it all or detach() removes it.
//
// start() and apply() fail in one sentence where the kernel or the privileges refuse; the daemon then goes on without.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "fastpath/cgroup.h"
#include "fastpath/inbound.h"
#include "fastpath/options.h"
#include "fastpath/original_dst.h"
#include "fastpath/own_process.h"
#include "fastpath/pin_dir.h"
#include "fastpath/services.h"
#include "fastpath/workers.h"

namespace millrace::fastpath {

class Steering {
 public:
  static base::Result<std::unique_ptr<Steering>> start(const Options& options);

  // New rules, places and policies. Programs are replaced one by one; each sees its old rules or its new ones, never a
  // mixture. The pin folder cannot change. After an error the old programs stay where they were not yet replaced.
  base::Result<void> apply(const Options& options);

  // Starts inbound steering of options().inbound[index] with these sockets (see Inbound), or replaces it. Links of
  // namespaces that the options no longer name are dropped by apply().
  base::Result<void> attach_inbound(size_t index, std::span<const int> sockets);
  // See workers.h; once for each address that workers listen on.
  base::Result<void> steer_workers(std::span<const WorkerSocket> sockets) const;

  // Leaves the pins to another daemon. What is attached stays, this process stays marked, options are fixed now.
  void give_up();

  const Options& options() const { return options_; }
  // nullptr unless the options have services. apply() makes a new one if their options changed; every service has to
  // be updated again then.
  Services* services() const { return services_.get(); }
  // For other parts of the fast path, which keep their maps and links in the same folder.
  const PinDir& pins() const { return pins_; }

 private:
  Steering(PinDir pins, OwnProcess own) : pins_(std::move(pins)), own_(std::move(own)) {}
  base::Result<void> apply_connect(const Options& options, const std::vector<Cgroup>& places);
  base::Result<void> apply_datagram(const Options& options, const std::vector<Cgroup>& places);
  base::Result<void> open_services(const Options& options);
  base::Result<void> apply_sockops(const Options& options, const std::vector<Cgroup>& places);
  base::Result<void> apply_getsockopt(const Options& options);
  base::Result<void> drop_old_inbound(const Options& options);

  PinDir pins_;
  OwnProcess own_;
  Options options_;
  std::unique_ptr<Services> services_;
  std::map<size_t, Inbound> inbound_;  // by index of options().inbound
};

}  // namespace millrace::fastpath
