// One worker's offers of connections to the short-circuit: a hop (the app and the daemon on one connection hand each
// other their messages) or a joined pair (two apps hand each other theirs, past the daemon, which keeps its two
// connections for connect, close, statistics and timeouts).
//
// An offer changes no byte and may be made at any moment, in the middle of traffic too: the programs take a message out
// of TCP only when every older byte of its direction was read by the app that gets it. For a pair they must be told how
// far the daemon is: report() after bytes were handed on completely, that is when the sends of all bytes received so
// far from that side are done and nothing of them is in a buffer of ours. Reporting late costs speed, reporting bytes
// that are still ours would break their order.
//
// A worker owns its SpliceOffers and uses it on its thread; offers point to it and die before it. Cells of the pairs'
// array are divided between workers, so there is no lock.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fastpath/splice.h"
#include "fp_splice.h"
#include "stats/stats.h"

namespace millrace::fastpath {

class SpliceOffers;

enum class SpliceDirection : uint8_t { kFromDownstream = 0, kFromUpstream = 1 };

// Taking back. withdraw() is at once and final: what was handed over already will be read in its place, everything
// later passes; but the sockets stay members, whose TCP is slower than that of others. dissolve() makes them what they
// were. It withdraws as well, and is then called now and then until it is true: a socket cannot leave before everything
// that was handed over to it was read, or it would be lost.

// A living offer; withdrawn by the destructor.
class HopOffer {
 public:
  HopOffer() = default;
  HopOffer(HopOffer&& other) noexcept;
  HopOffer& operator=(HopOffer&& other) noexcept;
  ~HopOffer() { withdraw(); }

  explicit operator bool() const { return offers_ != nullptr; }
  void withdraw();
  // True: neither is a member any more, and this is no offer. An app that has closed does not leave.
  bool dissolve();

 private:
  friend class SpliceOffers;
  HopOffer(const SpliceOffers* offers, uint64_t own, uint64_t app);
  const SpliceOffers* offers_ = nullptr;
  uint64_t own_ = 0, app_ = 0;
  bool dissolving_ = false;
};

class JoinedPair {
 public:
  struct Traffic {
    uint64_t bytes = 0;     // that went past the daemon
    uint64_t messages = 0;
  };

  JoinedPair() = default;
  JoinedPair(JoinedPair&& other) noexcept;
  JoinedPair& operator=(JoinedPair&& other) noexcept;
  ~JoinedPair() { withdraw(); }

  explicit operator bool() const { return offers_ != nullptr; }
  // Bytes received from that side since its connection began, all of them handed on. A plain store.
  void report(SpliceDirection direction, uint64_t handed_on_bytes);
  // For statistics, access logs and idle timers, which do not see these bytes otherwise. Plain loads.
  Traffic traffic(SpliceDirection direction) const;
  // The app that this direction leads to has closed over unread bytes. TCP would have sent a reset, the kernel sends
  // FIN: on end of stream from that app, ask this, and reset the other side instead of closing it in order.
  bool lost_at_close(SpliceDirection direction) const;
  // The programs have put it back on TCP for good, as it carried a flood of small messages.
  bool put_back() const;
  void withdraw();
  // True: neither app's socket is a member any more, and traffic() is final. An app that has closed does not leave, so
  // that lost_at_close() can be asked when its end of stream comes.
  bool dissolve();

 private:
  friend class SpliceOffers;
  SpliceOffers* offers_ = nullptr;
  uint32_t cell_ = 0;
  uint64_t apps_[2] = {};  // cookies: downstream, upstream
};

class SpliceOffers {
 public:
  // For worker `index` of `count`. `splice` outlives it. `stats`: this worker's, of a block of splice_schema().
  static base::Result<SpliceOffers> open(const Splice& splice, uint32_t index, uint32_t count,
                                         stats::StatShard stats = {});
  SpliceOffers(SpliceOffers&& other) noexcept;
  SpliceOffers& operator=(SpliceOffers&&) = delete;
  ~SpliceOffers();

  // Of a connection of ours with a local app. kNotFound: it is not local, or its address is no opted-in service;
  // kUnsupported: its app reads it as a blocking socket, which no member can be, or a probe has switched this off;
  // kUnreachable: its app has not accepted it yet, which can be asked again when it has sent something.
  base::Result<HopOffer> offer_hop(int fd) const;
  // Of a connection that a local app made to us and of one that we made to a local app; hops of the two are withdrawn
  // before. The totals are as for report(), the errors as above.
  base::Result<JoinedPair> join(int downstream_fd, int upstream_fd, uint64_t from_downstream_bytes,
                                uint64_t from_upstream_bytes);
  // When it pays to ask for a pair, as this worker knows it by now.
  const JoinRule& join_rule() const { return join_rule_; }
  const SpliceRule& rule() const { return rule_; }
  // What became of a pair, for that rule and the statistics.
  void learn(bool paid);

 private:
  friend class HopOffer;
  friend class JoinedPair;
  // A connection's two ends, as their records have them.
  struct Ends {
    uint64_t own = 0, app = 0;  // cookies
    fp_splice_sock own_record{}, app_record{};
    bool v4() const;
  };
  SpliceOffers() = default;
  base::Result<HopOffer> make_hop(int fd) const;
  base::Result<JoinedPair> make_pair(int downstream_fd, int upstream_fd, uint64_t from_downstream_bytes,
                                     uint64_t from_upstream_bytes);
  base::Result<Ends> ends_of(int fd) const;
  base::Result<fp_splice_sock> record_of(uint64_t cookie) const;
  // Makes the socket a member, gives it a seat, and reads its record again.
  base::Result<void> admit(uint64_t cookie, bool own, uint32_t seat, fp_splice_sock& record) const;
  // Has splice_admit do that to the socket of that record.
  base::Result<void> ask(const fp_splice_ask& ask) const;
  base::Result<uint32_t> run(const fp_splice_ask& ask) const;
  // False: it cannot yet.
  bool leave(uint64_t cookie, uint64_t sender, uint32_t seat) const;
  base::Result<void> route(uint64_t from, const fp_splice_route& route) const;
  void unroute(uint64_t from) const;
  uint32_t take_cell(uint32_t at);
  void end_pair(uint32_t at);

  SplicePieces pieces_;
  SpliceRule rule_;
  JoinRule join_rule_;
  mutable stats::StatShard stats_;
  int socks_map_ = -1;
  int admit_program_ = -1;
  fp_splice_pair* cells_ = nullptr;  // the whole array, shared with the programs
  size_t cells_size_bytes_ = 0;
  std::vector<uint32_t> free_cells_;
};

}  // namespace millrace::fastpath
