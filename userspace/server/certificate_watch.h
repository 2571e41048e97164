// Certificates on disk: when a file that a transport was made of changes, also behind a symbolic link (Kubernetes swaps
// one that leads to all of a secret's files), the transport reads everything anew. Connections are not touched. inotify
// on the directories on the way to each file; changes that come together are taken together. Main thread.
//
//   quiet --something moved in a directory--> settling --kSettle over: files that differ are read--> quiet
#pragma once
#include <sys/types.h>

#include <compare>
#include <ctime>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/loop.h"

namespace millrace::config {
class ReloadableTransport;
}

namespace millrace::server {

class CertificateWatch {
 public:
  CertificateWatch(io::Loop& loop, std::vector<std::shared_ptr<config::ReloadableTransport>> transports);
  ~CertificateWatch();

  // Nothing to do without files.
  base::Result<void> start();
  void stop();

 private:
  // Which file a path leads to, and which version of it; all zero for none.
  struct Version {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t modified_ns = 0, changed_ns = 0;
    auto operator<=>(const Version&) const = default;
  };
  struct Watched {
    std::shared_ptr<config::ReloadableTransport> transport;
    std::vector<Version> versions;  // of its files, when they were read
  };

  static Version version_of(const std::string& path);
  static std::vector<Version> versions_of(const config::ReloadableTransport& transport);
  void watch_directories(const config::ReloadableTransport& transport);
  void on_ready(const io::Completion& completion);
  void on_settled();

  // A pair of files that is written one after the other is read once; well within the second that it may take.
  static constexpr base::milliseconds kSettle{150};
  io::Loop& loop_;
  std::vector<Watched> watched_;
  std::set<std::string> directories_;
  int fd_ = -1;
  bool stopping_ = false;
  io::Op<&CertificateWatch::on_ready> poll_{*this};
  io::TimerOf<&CertificateWatch::on_settled> settle_;
};

}  // namespace millrace::server
