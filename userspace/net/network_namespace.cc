#include "net/network_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

namespace millrace::net {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

constexpr const char* kOwn = "/proc/thread-self/ns/net";

Error cannot_open(int os, const std::string& path) {
  Error error = Error::from_errno(os, fmt::format("cannot open the network namespace '{}'", path));
  if (os == ENOENT) error.what += ": make it first, or take out what is to be in it";
  if (os == EACCES) error.what += ": that of another user's process needs CAP_SYS_PTRACE";
  return error;
}

}  // namespace

Result<NetworkNamespace> NetworkNamespace::open(const std::string& path) {
  std::string file = path.empty() ? kOwn : path;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return cannot_open(errno, file);
  struct stat info, own;
  if (::ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET || ::fstat(fd, &info) != 0) {
    ::close(fd);
    // A name that `ip netns` made and that lost its mount is a file like any other.
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
                 fmt::format("'{}' is no network namespace, or its namespace is gone", file)};
  }
  const bool is_own = ::stat(kOwn, &own) == 0 && own.st_ino == info.st_ino && own.st_dev == info.st_dev;
  return NetworkNamespace(fd, info.st_ino, is_own, std::move(file));
}

NetworkNamespace::NetworkNamespace(NetworkNamespace&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), id_(other.id_), own_(other.own_), path_(std::move(other.path_)) {}

NetworkNamespace& NetworkNamespace::operator=(NetworkNamespace&& other) noexcept {
  std::swap(fd_, other.fd_);
  id_ = other.id_;
  own_ = other.own_;
  path_ = std::move(other.path_);
  return *this;
}

NetworkNamespace::~NetworkNamespace() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> NetworkNamespace::run(const std::function<void()>& work) const {
  int os = 0;
  std::thread inside([&] {
    if (::setns(fd_, CLONE_NEWNET) == 0) {
      work();
    } else {
      os = errno;
    }
  });
  inside.join();
  if (os == 0) return {};
  Error error = Error::from_errno(os, fmt::format("cannot enter the network namespace '{}'", path_));
  if (os == EPERM) error.what += ": it needs CAP_SYS_ADMIN at start, which the daemon then drops";
  return error;
}

}  // namespace millrace::net
