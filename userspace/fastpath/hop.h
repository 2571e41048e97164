// One connection between a local app and the daemon as a hop of the short-circuit: app and daemon hand each other their
// messages past TCP. For protocols that the daemon speaks itself, request by request; both sides of its HTTP proxy use
// it, each connection for itself. Does nothing where that cannot be had. One worker.
//
// Offered when the second request begins: a connection for one request is not worth the system calls, and by then the
// app has accepted it, has most likely said that it does not block, and has read what TCP carried. A connection that
// has just moved a large body waits for a request after a small one, and one that does so as a hop is none any more:
// such a body passes to TCP, which costs a member more. After the decision a request costs a comparison.
//
//   --second request; refused for now: at a later one--> offered --a large exchange--> leaving --left--> as at first
//         \____refused for good________________________________\__withdraw(), leave(), or its owner goes____\--> gone
#pragma once
#include <cstdint>

#include "base/error.h"
#include "fastpath/splice_offers.h"

namespace millrace::net {
class Connection;
}

namespace millrace::fastpath {

// When to ask, apart from whom.
class HopRule {
 public:
  // A request begins, on a connection that has moved so many bytes before. Whether the exchange before was one for
  // hops, which takes up to `exchange_bytes_max` (SpliceRule).
  bool begin(uint64_t bytes, uint64_t exchange_bytes_max);
  // Whether it is time to ask, after begin() was true.
  bool due() const { return requests_ >= next_; }
  // Whether asking again later could help.
  bool refused(base::ErrorCode code);
  // A hop that did not pay is none any more. Whether asking again later could help.
  bool left();

 private:
  static constexpr uint8_t kAsksMax = 6;
  uint64_t bytes_ = 0;
  uint32_t requests_ = 0;
  uint32_t next_ = 2;  // the request at which to ask
  uint8_t asks_ = 0;
};

class Hop {
 public:
  // Null: never offered.
  explicit Hop(const SpliceOffers* offers) : offers_(offers) {}

  // A request begins on the connection, which is open; before anything of it is written.
  void on_request(net::Connection& connection) {
    if (offers_ != nullptr) consider(connection);
  }
  bool offered() const { return static_cast<bool>(offer_); }
  // Messages pass to TCP from now on. Before the connection is closed.
  void withdraw() {
    offer_.withdraw();
    offers_ = nullptr;
  }
  // The connection goes on with what needs all that TCP does; its sockets are no members any more if that can be now.
  void leave() {
    (void)offer_.dissolve();
    withdraw();
  }

 private:
  void consider(net::Connection& connection);

  const SpliceOffers* offers_;  // null: nothing to ask any more, or never
  HopRule rule_;
  HopOffer offer_;
  bool leaving_ = false;
};

}  // namespace millrace::fastpath
