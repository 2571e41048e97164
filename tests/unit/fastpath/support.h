// What the fast path's tests share. They need root and a kernel that lets BPF in; ForbidsBpf() skips them elsewhere.
// Everything a test makes (pin folder, cgroups, children, namespaces) is named after the process and a number and goes
// with its object, failures included.
#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fastpath/fd.h"
#include "net/address.h"

namespace millrace::fastpath::testing {

// Why BPF programs cannot be tried here; empty if they can.
std::string bpf_refused();

// A pin folder of its own; detached at the end whatever happened.
class TestPins {
 public:
  TestPins();
  ~TestPins();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A cgroup below the v2 mount (or below another one), removed at the end; processes in it are killed.
class TestCgroup {
 public:
  explicit TestCgroup(const std::string& parent = "/");
  ~TestCgroup();
  const std::string& path() const { return path_; }  // below the mount
  void join() const;                                 // the calling process

 private:
  std::string path_;
  std::string folder_;
};

// Runs `body` in a child that has joined the cgroup (nullptr: stays), hands back the text that it returned. A child is
// another process than the "daemon" that the test is. Killed if it outlives its minute.
std::string in_child(const TestCgroup* cgroup, const std::function<std::string()>& body);

// A child that stays until the object goes (or kill()), running `body` after it has joined.
class Child {
 public:
  Child(const TestCgroup* cgroup, const std::function<void()>& body);
  ~Child();
  void kill();
  // What the child wrote to its standard output so far, up to a newline, without it.
  std::string line();
  bool readable_now() const;

 private:
  int pid_ = -1;
  Fd output_;
};

// The calling process (a child) gets a network namespace of its own with its loopback up.
void enter_new_netns();

// The calling process (a child) becomes user and group 65534 with these capabilities and no others.
bool become_nobody(const std::vector<int>& capabilities);
bool keep_capabilities(const std::vector<int>& capabilities);

net::Address address(std::string_view ip, uint16_t port);
net::Address local_of(int fd);
net::Address peer_of(int fd);
// Bound (and listening, for SOCK_STREAM) on the address; port 0 picks one.
Fd bind_socket(const net::Address& at, int type, bool reuse_port = false);
// "ok", or the name of the errno. `mapped`: an AF_INET6 socket dials ::ffff:a.b.c.d.
std::string dial(int fd, const net::Address& to, bool mapped = false);
Fd make_socket(int family, int type);
// Accepts within two seconds; empty otherwise.
Fd accept_one(int listener);
// A datagram or bytes within two seconds; nothing otherwise.
std::optional<std::string> receive(int fd, net::Address* from = nullptr);
bool send_text(int fd, std::string_view text);
// As dial().
std::string send_to(int fd, std::string_view text, const net::Address& to, bool mapped = false);

}  // namespace millrace::fastpath::testing

#define MILLRACE_NEEDS_BPF()                                                              \
  do {                                                                                    \
    if (const std::string why = ::millrace::fastpath::testing::bpf_refused(); !why.empty()) \
      GTEST_SKIP() << why;                                                                \
  } while (0)
