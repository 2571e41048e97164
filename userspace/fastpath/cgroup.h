// cgroup v2: where it is mounted, and folders of it as places to attach programs to. Main thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/object.h"

namespace millrace::fastpath {

// The first mount of type cgroup2 in /proc/self/mountinfo; kNotFound where there is only version 1.
base::Result<std::string> cgroup_mount();
// The same, from the text of a mountinfo file.
base::Result<std::string> cgroup_mount_in(std::string_view mountinfo);

class Cgroup {
 public:
  // A path that begins with the mount is taken as it is, any other one is below the mount: "/", "/apps", "apps/web".
  static base::Result<Cgroup> open(std::string_view path);
  // The cgroup of this process.
  static base::Result<Cgroup> own();

  uint64_t id() const { return id_; }                   // what the helpers of the kernel call cgroup id
  uint32_t level() const { return level_; }             // 0: the root
  const std::string& path() const { return path_; }     // below the mount, "/" for the root
  Place place() const { return {fd_.get(), id_, path_}; }
  // Whether `other` is this cgroup or below it.
  bool covers(const Cgroup& other) const;

 private:
  Fd fd_;
  uint64_t id_ = 0;
  uint32_t level_ = 0;
  std::string path_;
};

}  // namespace millrace::fastpath
