#include "fastpath/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

std::string read_file(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// mountinfo writes space, tab, newline and backslash as \ooo (proc(5)).
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// "/" + the names of the path, without empty ones.
std::string normal(std::string_view path) {
  std::string out;
  size_t at = 0;
  while (at < path.size()) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) out.append("/").append(path.substr(at, end - at));
    at = end + 1;
  }
  return out.empty() ? "/" : out;
}

}  // namespace

Result<std::string> cgroup_mount_in(std::string_view mountinfo) {
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    // "36 35 98:0 /root /mount/point options [tags] - type source options"
    std::istringstream words(line);
    std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() > 5 && fields.end() - dash > 1 && dash[1] == "cgroup2") return unescape(fields[4]);
  }
  return Error{ErrorCode::kNotFound, Side::kInternal, 0, "no cgroup v2 is mounted"};
}

Result<std::string> cgroup_mount() { return cgroup_mount_in(read_file("/proc/self/mountinfo")); }

Result<Cgroup> Cgroup::open(std::string_view path) {
  Result<std::string> mount = cgroup_mount();
  if (!mount) return mount.error();
  const bool whole = path.starts_with(*mount) && (path.size() == mount->size() || path[mount->size()] == '/');
  Cgroup out;
  out.path_ = normal(whole ? path.substr(mount->size()) : path);
  const std::string folder = out.path_ == "/" ? *mount : *mount + out.path_;
  out.fd_ = Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info;
  if (!out.fd_ || fstat(out.fd_.get(), &info) != 0) {
    return Error::from_errno(errno, fmt::format("opening the cgroup {}", folder));
  }
  out.id_ = info.st_ino;  // kernfs: the inode number is the id
  out.level_ = out.path_ == "/" ? 0 : static_cast<uint32_t>(std::count(out.path_.begin(), out.path_.end(), '/'));
  return out;
}

Result<Cgroup> Cgroup::own() {
  std::istringstream lines(read_file("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) return open(line.substr(3));
  }
  return Error{ErrorCode::kNotFound, Side::kInternal, 0, "this process is in no cgroup of version 2"};
}

bool Cgroup::covers(const Cgroup& other) const {
  return path_ == "/" || other.path_ == path_ || other.path_.starts_with(path_ + "/");
}

}  // namespace millrace::fastpath
