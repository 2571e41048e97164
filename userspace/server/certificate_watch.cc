#include "server/certificate_watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>

#include "base/log.h"
#include "config/reloadable_transport.h"

namespace millrace::server {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB;
constexpr int kLinksMax = 40;  // as the kernel follows

// Every directory in which a change may make the path lead elsewhere, or what it leads to different: that of the file,
// and those of all symbolic links on the way.
void add_directories(const fs::path& path, std::set<std::string>& to) {
  std::error_code failed;
  fs::path rest = fs::absolute(path, failed).lexically_normal();
  int links = 0;
  fs::path at = "/";
  std::vector<fs::path> parts(rest.begin(), rest.end());
  for (size_t i = 1; i < parts.size(); ++i) {
    const fs::path next = at / parts[i];
    const bool is_link = fs::is_symlink(fs::symlink_status(next, failed));
    if (is_link || i + 1 == parts.size()) to.insert(at.string());
    if (!is_link || ++links > kLinksMax) {
      at = next;
      continue;
    }
    fs::path target = fs::read_symlink(next, failed);
    if (target.is_relative()) target = at / target;
    for (size_t j = i + 1; j < parts.size(); ++j) target /= parts[j];
    target = target.lexically_normal();
    parts.assign(target.begin(), target.end());
    at = "/";
    i = 0;
  }
}

int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000LL + time.tv_nsec; }

}  // namespace

CertificateWatch::CertificateWatch(io::Loop& loop, std::vector<std::shared_ptr<config::ReloadableTransport>> transports)
    : loop_(loop), settle_(loop.timers(), *this) {
  for (auto& transport : transports) {
    std::vector<Version> versions = versions_of(*transport);
    watched_.push_back({std::move(transport), std::move(versions)});
  }
}

CertificateWatch::~CertificateWatch() {
  if (fd_ >= 0) ::close(fd_);
}

base::Result<void> CertificateWatch::start() {
  fd_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd_ < 0) return base::Error::from_errno(errno, "cannot watch certificates (inotify)");
  for (const Watched& one : watched_) watch_directories(*one.transport);
  if (directories_.empty()) return {};
  loop_.backend().poll(poll_, fd_, POLLIN);
  settle_.arm(kSettle);  // what changed since it was read
  return {};
}

void CertificateWatch::stop() {
  stopping_ = true;
  settle_.disarm();
  if (poll_.in_flight()) loop_.backend().cancel(poll_);
}

CertificateWatch::Version CertificateWatch::version_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
}

std::vector<CertificateWatch::Version> CertificateWatch::versions_of(const config::ReloadableTransport& transport) {
  std::vector<Version> versions;
  for (const std::string& file : transport.files()) versions.push_back(version_of(file));
  return versions;
}

void CertificateWatch::watch_directories(const config::ReloadableTransport& transport) {
  std::set<std::string> directories;
  for (const std::string& file : transport.files()) add_directories(file, directories);
  for (const std::string& directory : directories) {
    // Watching twice is watching once; a directory that was made anew under an old name is another one.
    if (::inotify_add_watch(fd_, directory.c_str(), kEvents | IN_ONLYDIR) < 0) {
      MILLRACE_LOG(kWarn, "config", "{}: changes in {} will not be seen: {}", transport.name(), directory,
                   base::Error::from_errno(errno, "inotify").to_string());
      continue;
    }
    directories_.insert(directory);
  }
}

void CertificateWatch::on_ready(const io::Completion&) {
  if (stopping_) return;
  alignas(inotify_event) char events[4096];
  while (::read(fd_, events, sizeof events) > 0) {
  }
  if (!settle_.armed()) settle_.arm(kSettle);
  loop_.backend().poll(poll_, fd_, POLLIN);
}

void CertificateWatch::on_settled() {
  for (Watched& one : watched_) {
    std::vector<Version> now = versions_of(*one.transport);
    if (now == one.versions) continue;
    const base::Result<void> read = one.transport->reload();
    // What was read may be newer than what was looked at: then it is read once more.
    if (one.transport->files().size() != now.size()) now = versions_of(*one.transport);
    one.versions = std::move(now);
    watch_directories(*one.transport);
    if (read.ok()) {
      MILLRACE_LOG(kInfo, "config", "{}: certificates were read again", one.transport->name());
    } else {
      MILLRACE_LOG(kWarn, "config", "{}: the new certificates are refused, the old ones stay: {}",
                   one.transport->name(), read.error().what);
    }
  }
}

}  // namespace millrace::server
