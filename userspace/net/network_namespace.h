// A network namespace named by a file: /run/netns/<name>, /proc/<pid>/ns/net; network_namespaces(7). What is made
// inside (sockets, links) belongs to it and works from any thread. Entering one needs CAP_SYS_ADMIN in the user
// namespace that owns it, so it comes before privileges are dropped: main thread. The object keeps the namespace alive,
// as do its sockets, also after its name and its last process are gone. Errors name the path and what to do.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace millrace::net {

class NetworkNamespace {
 public:
  // Empty: the calling thread's own.
  static base::Result<NetworkNamespace> open(const std::string& path);
  NetworkNamespace(NetworkNamespace&& other) noexcept;
  NetworkNamespace& operator=(NetworkNamespace&& other) noexcept;
  ~NetworkNamespace();

  // Runs `work` inside, on a thread made for it, and waits: nothing has to find its way back, and no thread that serves
  // is ever in the wrong place.
  base::Result<void> run(const std::function<void()>& work) const;

  int fd() const { return fd_; }
  // The same for every path to the namespace, and no other living one's: the inode.
  uint64_t id() const { return id_; }
  // It is that of the thread that opened it.
  bool own() const { return own_; }
  const std::string& path() const { return path_; }

 private:
  NetworkNamespace(int fd, uint64_t id, bool own, std::string path)
      : fd_(fd), id_(id), own_(own), path_(std::move(path)) {}
  int fd_ = -1;
  uint64_t id_ = 0;
  bool own_ = false;
  std::string path_;
};

}  // namespace millrace::net
