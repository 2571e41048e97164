#include "server/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace millrace::server {
namespace {

// glibc has no wrapper; libcap would be one more library for two calls.
struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

  bool read() { return ::syscall(SYS_capget, &header, data) == 0; }
  bool write() { return ::syscall(SYS_capset, &header, data) == 0; }
  bool effective(int capability) const {
    return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
  }
};

}  // namespace

base::Result<void> keep_only(std::initializer_list<int> capabilities) {
  uint32_t keep[_LINUX_CAPABILITY_U32S_3] = {};
  for (int capability : capabilities) keep[CAP_TO_INDEX(capability)] |= CAP_TO_MASK(capability);
  Capabilities have;
  if (!have.read()) return base::Error::from_errno(errno, "cannot read capabilities");
  for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
    have.data[i].permitted &= keep[i];
    have.data[i].effective &= keep[i];
    have.data[i].inheritable = 0;
  }
  if (!have.write()) return base::Error::from_errno(errno, "cannot drop capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::Error::from_errno(errno, "cannot set no_new_privs");
  return {};
}

std::string fast_path_capabilities() {
  static constexpr std::pair<int, const char*> kWanted[] = {
      {CAP_BPF, "CAP_BPF"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_PERFMON, "CAP_PERFMON"}};
  Capabilities have;
  std::string names;
  if (have.read()) {
    for (const auto& [capability, name] : kWanted) {
      if (!have.effective(capability)) continue;
      if (!names.empty()) names += ", ";
      names += name;
    }
  }
  return names.empty() ? "none" : names;
}

}  // namespace millrace::server
