// The one folder on bpffs under which everything of the fast path lives:
//
//   <path>/maps/<map>    maps that outlive the daemon; adopted on restart if their layout is still the same
//   <path>/links/<link>  one link for each program and place; on restart the program is replaced, never the link
//
// Whoever holds a PinDir holds an exclusive flock on the folder; a second daemon gets kAlreadyExists, or, with
// Claim::kTakeOver, asks the first to give it up, which sees wanted(), stops writing and calls give_up(). The lock goes
// with the process, the pins stay: programs go on working while nobody lives. Main thread; errors are one sentence.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fastpath/fd.h"

namespace millrace::fastpath {

inline constexpr std::string_view kDefaultPinDir = "/sys/fs/bpf/millrace";

// What to do about a living daemon that has the folder.
enum class Claim : uint8_t { kIfFree, kTakeOver };

class PinDir {
 public:
  // Mounts bpffs at the parent if none is there, makes the folders and takes the lock. Pinned maps of another
  // FP_ABI_VERSION are unpinned here: their programs live on with them until they are replaced.
  static base::Result<PinDir> open(std::string_view path, Claim claim = Claim::kIfFree);

  // A view for status pages: takes no lock, changes nothing. kNotFound if there is no such folder.
  static base::Result<PinDir> look(std::string_view path);

  PinDir(PinDir&&) = default;
  PinDir& operator=(PinDir&&) = default;

  const std::string& path() const { return path_; }
  // Ways to the pins. They start at the locked folder's descriptor, because a daemon that dropped its privileges may
  // not walk through the root of bpffs, whose mode is often 0700.
  std::string map_folder() const;
  std::string map_path(std::string_view name) const;
  std::string link_path(std::string_view name) const;
  // Makes the folder and all that is pinned in it another user's, so that a daemon that becomes this user, and keeps
  // CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, can replace programs and options later.
  base::Result<void> give_to(uint32_t user, uint32_t group) const;
  std::vector<std::string> maps() const;
  std::vector<std::string> links() const;
  // Whether some daemon holds the folder.
  bool held() const;
  // Another daemon has asked for the folder. One system call.
  bool wanted() const;
  // Others may open it from now on. Ways to the pins go on working; nothing may be written any more.
  void give_up();
  // Whether pins of an earlier process were found and kept.
  bool adopted() const { return adopted_; }

  // Detaches the link for good, whoever else holds it, and removes its pin.
  base::Result<void> drop_link(std::string_view name) const;
  // Drops each link whose name starts with `prefix` and is not in `keep`.
  base::Result<void> drop_links_except(std::string_view prefix, const std::vector<std::string>& keep) const;

 private:
  friend base::Result<void> detach(std::string_view path, bool in_use_too);
  PinDir(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string root() const;
  base::Result<void> check_version();
  base::Result<void> open_turn();
  base::Result<void> remove_all() const;

  std::string path_;
  Fd lock_;
  Fd turn_map_;        // how often the folder was asked for
  uint32_t turn_ = 0;  // when we got it
  bool given_up_ = false;
  bool adopted_ = false;
};

// Removes every link, map and the folder itself, so that nothing is left of the fast path. A folder that a living
// daemon holds is refused with kAlreadyExists unless `in_use_too`. A folder that is not there is fine.
base::Result<void> detach(std::string_view path, bool in_use_too = false);

}  // namespace millrace::fastpath
