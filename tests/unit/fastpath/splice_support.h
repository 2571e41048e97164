// What the tests of the short-circuit share: a Splice for a cgroup of its own, in which the test's process is while the
// bench lives, and connections to a listener that is opted in.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "fastpath/cgroup.h"
#include "fastpath/splice.h"
#include "fastpath/splice_offers.h"
#include "support.h"

namespace millrace::fastpath::testing {

class SpliceBench {
 public:
  struct Hop {
    Fd app;     // dialled, does not block
    Fd daemon;  // accepted
  };

  explicit SpliceBench(std::string_view ip);
  ~SpliceBench();

  // With other options; connections from now on.
  void restart(const SpliceOptions& options);
  void stop();
  Hop connect() const;
  // The daemon dials an app that has not accepted; the app's listener.
  std::pair<Fd, int> dial_only() const;
  Hop connect_elsewhere() const;  // to a port that is not opted in

  Splice& splice() { return *splice_; }
  SpliceOffers& offers() { return *offers_; }
  // The bench lets go of it; offers stay good while it lives.
  Splice take_splice() { return std::move(*splice_); }
  uint64_t count(std::string_view reason) const;  // messages
  net::Address address() const { return local_of(listener_.get()); }  // opted in
  Fd accept() const { return accept_one(listener_.get()); }
  const std::string& cgroup() const { return cgroup_.path(); }
  // Whether it comes true within two seconds, for what the kernel does after the call that causes it.
  static bool settles(const std::function<bool()>& condition);

 private:
  Hop connect_to(const Fd& listener) const;

  Cgroup before_;
  TestCgroup cgroup_;
  Cgroup place_;
  Fd listener_, elsewhere_;
  std::optional<Splice> splice_;
  std::optional<SpliceOffers> offers_;
};

// Exactly `size` bytes, or what came within two seconds.
std::string receive_all(int fd, size_t size);
// What TCP holds in this network namespace (/proc/net/sockstat).
uint64_t tcp_memory_bytes();

}  // namespace millrace::fastpath::testing
