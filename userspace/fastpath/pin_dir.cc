#include "fastpath/pin_dir.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <optional>

#include "base/log.h"
#include "fp_types.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

constexpr std::string_view kVersionMap = "fp_version";
constexpr std::string_view kTurnMap = "fp_turn";

bool is_bpffs(const std::string& path) {
  struct statfs fs;
  return statfs(path.c_str(), &fs) == 0 && static_cast<uint32_t>(fs.f_type) == BPF_FS_MAGIC;
}

// Two processes that mount at the same time would hide each other's pins: the second waits, and finds it mounted.
Result<void> mount_bpffs(const std::string& at) {
  if (is_bpffs(at)) return {};
  const Fd folder(open(at.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return Error::from_errno(errno, fmt::format("opening {}, where bpffs would be mounted", at));
  if (flock(folder.get(), LOCK_EX) != 0) return Error::from_errno(errno, fmt::format("locking {}", at));
  if (is_bpffs(at)) return {};
  if (mount("bpf", at.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    return Error::from_errno(errno, fmt::format("mounting bpffs at {}", at));
  }
  MILLRACE_LOG(kInfo, "fastpath", "bpffs mounted at {}", at);
  return {};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

Result<void> make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Error::from_errno(errno, fmt::format("making the folder {}", path));
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  // Not opendir(): ThreadSanitizer does not see it open the descriptor, nor io_uring close the one that had its number.
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, int (*)(DIR*)> dir(fd < 0 ? nullptr : fdopendir(fd), closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A status page takes the lock for a moment to see whether a daemon has it: a daemon that starts then tries again.
constexpr int kLockTries = 20;
// A daemon that was asked for the folder gives it up within tens of milliseconds, unless it is busy.
constexpr int kTakeOverTries = 300;
constexpr timespec kLockPause{0, 10'000'000};

Result<Fd> lock_folder(const std::string& path, int tries = kLockTries) {
  Fd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return Error::from_errno(errno, fmt::format("opening {}", path));
  while (flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Error::from_errno(errno, fmt::format("locking {}", path));
    if (--tries > 0) {
      nanosleep(&kLockPause, nullptr);
      continue;
    }
    return Error{ErrorCode::kAlreadyExists, Side::kInternal, 0, fmt::format("{} belongs to a living daemon", path)};
  }
  return folder;
}

// Maps of one number.
std::optional<uint32_t> read_number(int map) {
  const uint32_t zero = 0;
  uint32_t value = 0;
  if (bpf_map_lookup_elem(map, &zero, &value) != 0) return std::nullopt;
  return value;
}

bool write_number(int map, uint32_t value) {
  const uint32_t zero = 0;
  return bpf_map_update_elem(map, &zero, &value, BPF_ANY) == 0;
}

Result<Fd> make_number(const std::string& pin, std::string_view name, uint32_t value) {
  Fd made(bpf_map_create(BPF_MAP_TYPE_ARRAY, std::string(name).c_str(), sizeof(uint32_t), sizeof(uint32_t), 1,
                         nullptr));
  if (!made) return Error::from_errno(errno, "making a BPF map");
  if (write_number(made.get(), value) && bpf_obj_pin(made.get(), pin.c_str()) == 0) return made;
  return Error::from_errno(errno, fmt::format("pinning {}", name));
}

// The lock of a folder that a living daemon has, once that has heard of it.
Result<Fd> ask_for_folder(const std::string& path) {
  const Fd turn(bpf_obj_get(fmt::format("{}/maps/{}", path, kTurnMap).c_str()));
  const std::optional<uint32_t> now = turn ? read_number(turn.get()) : std::nullopt;
  if (!now || !write_number(turn.get(), *now + 1)) {
    return Error{ErrorCode::kAlreadyExists, Side::kInternal, 0,
                 fmt::format("{} belongs to a living daemon, which cannot be asked for it: end that one first", path)};
  }
  Result<Fd> lock = lock_folder(path, kTakeOverTries);
  if (lock || lock.error().code != ErrorCode::kAlreadyExists) return lock;
  return Error{ErrorCode::kAlreadyExists, Side::kInternal, 0,
               fmt::format("{}, which was asked for it and does not give it up", lock.error().what)};
}

Result<Fd> claim_folder(const std::string& path, Claim claim) {
  Result<Fd> lock = lock_folder(path);
  if (lock || lock.error().code != ErrorCode::kAlreadyExists) return lock;
  if (claim == Claim::kTakeOver) return ask_for_folder(path);
  return Error{ErrorCode::kAlreadyExists, Side::kInternal, 0,
               fmt::format("{}: end that one (it gives the folder up when it begins to drain), take the folder over "
                           "with --restart-epoch 1, or name another pin_directory", lock.error().what)};
}

}  // namespace

std::string PinDir::root() const { return lock_ ? fmt::format("/proc/self/fd/{}", lock_.get()) : path_; }
std::string PinDir::map_folder() const { return root() + "/maps"; }
std::string PinDir::map_path(std::string_view name) const { return fmt::format("{}/maps/{}", root(), name); }
std::string PinDir::link_path(std::string_view name) const { return fmt::format("{}/links/{}", root(), name); }
std::vector<std::string> PinDir::maps() const { return entries(root() + "/maps"); }
std::vector<std::string> PinDir::links() const { return entries(root() + "/links"); }

Result<void> PinDir::give_to(uint32_t user, uint32_t group) const {
  std::vector<std::string> paths{root() + "/.", root() + "/maps", root() + "/links"};
  for (const std::string& name : maps()) paths.push_back(map_path(name));
  for (const std::string& name : links()) paths.push_back(link_path(name));
  for (const std::string& path : paths) {
    if (chown(path.c_str(), user, group) != 0) {
      return Error::from_errno(errno, fmt::format("giving the pins in {} to user {}", path_, user));
    }
  }
  return {};
}

Result<PinDir> PinDir::open(std::string_view path, Claim claim) {
  std::string text(path);
  if (text.size() < 2 || text.front() != '/' || text.back() == '/' || text.find('.') != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
                 fmt::format("'{}' is no absolute path below a bpffs mount (which allows no dots)", path)};
  }
  const std::string parent = parent_of(text);
  if (!is_bpffs(text)) {
    if (Result<void> mounted = mount_bpffs(parent); !mounted) return mounted.error();
  }
  if (Result<void> made = make_folder(text); !made) return made.error();
  Result<Fd> lock = claim_folder(text, claim);
  if (!lock) return lock.error();
  PinDir dir(std::move(text), std::move(*lock));
  if (Result<void> made = make_folder(dir.path_ + "/maps"); !made) return made.error();
  if (Result<void> made = make_folder(dir.path_ + "/links"); !made) return made.error();
  dir.adopted_ = !dir.links().empty();
  if (Result<void> checked = dir.check_version(); !checked) return checked.error();
  if (Result<void> opened = dir.open_turn(); !opened) return opened.error();
  return dir;
}

Result<PinDir> PinDir::look(std::string_view path) {
  PinDir dir{std::string(path), Fd()};
  if (access(dir.link_path("").c_str(), F_OK) == 0) return dir;
  if (errno != ENOENT && errno != ENOTDIR) return Error::from_errno(errno, fmt::format("opening {}", path));
  return Error{ErrorCode::kNotFound, Side::kInternal, 0, fmt::format("nothing is pinned at {}", path)};
}

bool PinDir::wanted() const { return !given_up_ && read_number(turn_map_.get()).value_or(turn_) != turn_; }

void PinDir::give_up() {
  given_up_ = true;
  // Not closed: the descriptor is the way to the pins.
  if (flock(lock_.get(), LOCK_UN) != 0) {
    MILLRACE_LOG(kError, "fastpath", "unlocking {}: {}", path_, Error::from_errno(errno, "flock").to_string());
  }
}

bool PinDir::held() const {
  if (lock_ && !given_up_) return true;
  const Result<Fd> lock = lock_folder(path_, 1);
  return !lock && lock.error().code == ErrorCode::kAlreadyExists;
}

Result<void> PinDir::check_version() {
  const std::string pin = map_path(kVersionMap);
  if (const Fd found(bpf_obj_get(pin.c_str())); found) {
    const uint32_t version = read_number(found.get()).value_or(0);
    if (version == FP_ABI_VERSION) return {};
    MILLRACE_LOG(kInfo, "fastpath", "maps in {} have layout {}, ours is {}: they are replaced", path_, version,
                 FP_ABI_VERSION);
  } else if (errno != ENOENT) {
    return Error::from_errno(errno, fmt::format("opening the pinned map {}", kVersionMap));
  }
  for (const std::string& name : maps()) {
    if (unlink(map_path(name).c_str()) != 0) return Error::from_errno(errno, fmt::format("unpinning map {}", name));
  }
  Result<Fd> made = make_number(pin, kVersionMap, FP_ABI_VERSION);
  return made ? Result<void>() : made.error();
}

Result<void> PinDir::open_turn() {
  const std::string pin = map_path(kTurnMap);
  turn_map_ = Fd(bpf_obj_get(pin.c_str()));
  if (!turn_map_) {
    Result<Fd> made = make_number(pin, kTurnMap, 0);
    if (!made) return made.error();
    turn_map_ = std::move(*made);
  }
  turn_ = read_number(turn_map_.get()).value_or(0);
  return {};
}

Result<void> PinDir::drop_link(std::string_view name) const {
  const std::string pin = link_path(name);
  const Fd link(bpf_obj_get(pin.c_str()));
  // A link whose cgroup or namespace is gone is detached already and says ENOLINK; kernels before 5.9 know no forced
  // detach, there the unlink does it.
  if (link && bpf_link_detach(link.get()) != 0 && errno != ENOLINK && errno != EOPNOTSUPP && errno != EINVAL) {
    MILLRACE_LOG(kWarn, "fastpath", "detaching {}: {}", name, Error::from_errno(errno, "bpf_link_detach").to_string());
  }
  if (unlink(pin.c_str()) != 0 && errno != ENOENT) return Error::from_errno(errno, fmt::format("unpinning {}", name));
  return {};
}

Result<void> PinDir::drop_links_except(std::string_view prefix, const std::vector<std::string>& keep) const {
  for (const std::string& name : links()) {
    if (!name.starts_with(prefix) || std::find(keep.begin(), keep.end(), name) != keep.end()) continue;
    if (Result<void> dropped = drop_link(name); !dropped) return dropped;
  }
  return {};
}

Result<void> PinDir::remove_all() const {
  if (Result<void> dropped = drop_links_except("", {}); !dropped) return dropped;
  for (const std::string& name : maps()) {
    if (unlink(map_path(name).c_str()) != 0) return Error::from_errno(errno, fmt::format("unpinning map {}", name));
  }
  for (const std::string& folder : {path_ + "/links", path_ + "/maps", path_}) {
    if (rmdir(folder.c_str()) != 0 && errno != ENOENT) {
      return Error::from_errno(errno, fmt::format("removing {}", folder));
    }
  }
  return {};
}

Result<void> detach(std::string_view path, bool in_use_too) {
  const std::string text(path);
  Result<Fd> lock = lock_folder(text);
  if (!lock) {
    if (lock.error().os == ENOENT) return {};
    if (!in_use_too || lock.error().code != ErrorCode::kAlreadyExists) return lock.error();
    return PinDir(text, Fd()).remove_all();
  }
  return PinDir(text, std::move(*lock)).remove_all();
}

}  // namespace millrace::fastpath
