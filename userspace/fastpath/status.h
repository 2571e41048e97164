// What the fast path is doing, for /fastpath and `millrace fastpath status`: read from the pins, so that any process
// with the privilege can ask, while the daemon lives and when it does not. Changes nothing, takes no lock for long.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fastpath/object.h"
#include "fastpath/services.h"

namespace millrace::fastpath {

struct ProgramStatus {
  LinkState link;
  std::string place;  // path of the cgroup, or "netns:[inode]"; "gone" if the place is
};

struct CountStatus {
  std::string_view name;
  std::string_view text;
  uint64_t value = 0;
};

struct Status {
  std::string off;  // why there is no fast path; empty: there is
  std::string pin_dir;
  bool daemon = false;  // some daemon holds the pins; without one services go on as they were
  std::vector<std::string> captured_cgroups;  // where connects are steered
  std::vector<ProgramStatus> programs;
  std::vector<ServiceState> services;  // by address
  std::vector<CountStatus> counts;     // those that are not zero
};

// For a daemon whose start failed: only `off` is set.
Status status_off(std::string why);
// kNotFound where nothing is pinned.
base::Result<Status> read_status(std::string_view pin_dir);
std::string to_text(const Status& status);

}  // namespace millrace::fastpath
