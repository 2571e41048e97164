// Sockets on which a probe works: two apps' ends and what lies between them, on a hop or a joined pair that was just
// offered. Every wait ends after kProbePatience. Internal to the probes.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/splice.h"
#include "fastpath/splice_offers.h"
#include "net/address.h"

namespace millrace::fastpath {

inline constexpr std::chrono::milliseconds kProbePatience{500};

// A Splice for this process's cgroup and an opted-in listener on loopback.
class ProbeGround {
 public:
  static base::Result<std::unique_ptr<ProbeGround>> open(std::string_view loopback, const SpliceOptions& options);

  struct Connection {
    Fd dialled, accepted;  // neither blocks
  };
  base::Result<Connection> connect() const;
  SpliceOffers& offers() { return *offers_; }
  // Messages that were handed over so far.
  uint64_t redirected() const;

 private:
  ProbeGround() = default;
  Fd listener_;
  net::Address address_;
  std::optional<Splice> splice_;
  std::optional<SpliceOffers> offers_;
};

// One direction is as good as the other: left writes to right, and back.
class ProbePath {
 public:
  static base::Result<ProbePath> hop(ProbeGround& ground);
  static base::Result<ProbePath> joined(ProbeGround& ground);

  int left() const { return near_.dialled.get(); }
  int right() const { return joined_ ? far_.dialled.get() : near_.accepted.get(); }
  // The daemon's part of a direction from the left: hands on what came to it of `size` bytes, and reports it. For a
  // caller that has sent them.
  bool relay(size_t size);
  // The daemon's part of a half-close from the left: ends the stream to the right.
  bool pass_on_end() const;
  // Closes the left app's socket.
  void close_left() { near_.dialled.reset(); }

 private:
  ProbeGround::Connection near_, far_;
  bool joined_ = false;
  HopOffer hop_offer_;
  JoinedPair pair_;
  uint64_t sent_ = 0, handed_on_ = 0;
};

// Sends or receives all, or as much as comes in time; peeks with MSG_PEEK in flags.
bool probe_send(int fd, std::string_view text, int flags = 0);
std::string probe_receive(int fd, size_t size_max, int flags = 0);
bool probe_wait(int fd, short events);
// Whether the end of the stream comes next.
bool probe_at_end(int fd);

}  // namespace millrace::fastpath
