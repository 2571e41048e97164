// The two connections of a TCP proxy's session as a joined pair: where both sides are local apps, the kernel hands each
// one's messages to the other past the daemon, which keeps the connections for connect, close, timeouts and statistics.
// Does nothing where that cannot be had. One worker.
//
// Asked for when the flow has turned as often as the worker's rule says, at first for the second time, which is when an
// app that got its answer sends again: a connection for one request is not worth the trouble. A pair that costs more
// than it brings is taken apart again, and its sockets are as they were; whether one does teaches the rule.
//
//   --turn; refused, then at the next--> joined --costs--> leaving --left()--> as at first, but for more turns
//                                          \______________________\--> withdrawn, before either connection is closed
#pragma once
#include <cstdint>

#include "fastpath/splice_offers.h"
#include "net/connection.h"

namespace millrace::router {

class TcpShortCircuit {
 public:
  using Direction = fastpath::SpliceDirection;
  struct Bytes {
    uint64_t from_downstream = 0, from_upstream = 0;
    bool any() const { return from_downstream > 0 || from_upstream > 0; }
  };

  // Null: no connection of this listener is offered.
  explicit TcpShortCircuit(fastpath::SpliceOffers* offers) : offers_(offers) {}

  bool joined() const { return static_cast<bool>(pair_); }  // and while it is leaving
  // Is to be asked for left(), after a while, again and again.
  bool leaving() const { return leaving_; }
  // Whether both sockets are as they were. The last bytes are there to be taken; then forget().
  bool left() { return pair_.dissolve(); }
  void forget();
  // So many bytes were written on in that direction. True: it is time to join().
  bool turns(Direction direction, uint64_t bytes);
  // Both are open.
  void join(net::Connection& downstream, net::Connection& upstream);
  // Tells how far the daemon is in that direction, if it holds back nothing: call it when `to` is drained.
  void report(Direction direction, net::Connection& from, net::Connection& to);
  // The app that this direction leads to has ended its side and left bytes unread, which TCP would tell by a reset.
  bool lost_at_close(Direction direction) const { return joined() && pair_.lost_at_close(direction); }
  // Bytes that went past the daemon since the last call.
  Bytes take_bytes();
  // Before either connection is closed, and after the last take_bytes().
  void withdraw();

 private:
  // Begins to leave when the pair costs more than it brings.
  void judge();
  uint64_t handed_on(Direction direction, net::Connection& from, const net::Connection& to);

  fastpath::SpliceOffers* offers_;  // null: nothing to ask any more, or never
  fastpath::JoinedPair pair_;
  bool asked_before_ = false;
  uint32_t turns_ = 0;
  Direction direction_ = Direction::kFromDownstream;  // of the last bytes
  uint64_t one_way_bytes_ = 0;                        // since the flow turned
  uint64_t handed_on_[2] = {};  // of each direction, as last known
  Bytes taken_;
  uint64_t through_bytes_ = 0;  // through the daemon since it was joined
  fastpath::PairWorth worth_;
  bool leaving_ = false;
  uint32_t more_turns_ = 1;  // as a factor: twice as many after each time that it left
};

}  // namespace millrace::router
