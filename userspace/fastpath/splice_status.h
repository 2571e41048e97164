// What the short-circuit is doing, for /fastpath, /stats and `millrace fastpath selftest`, and its start after the
// probes. Main thread.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "fastpath/probes.h"
#include "fastpath/splice.h"
#include "stats/schema.h"
#include "stats/stats.h"

namespace millrace::fastpath {

// The short-circuit as the probes allow it; none, and `off` says why, if they leave nothing or programs do not load.
struct ProvenSplice {
  ProbeReport report;
  std::optional<Splice> splice;
  std::string off;
  SplicePolicy policy = SplicePolicy::kAuto;
  SpliceWorth worth;  // with kAuto
  SpliceRule rule;
};
// Runs the probes, measures what is left if the policy asks for it, starts with the pieces that passed and pay (and
// that `options` wants), and logs one line if anything is off.
ProvenSplice start_proven_splice(SpliceOptions options, SplicePolicy policy = SplicePolicy::kAuto);

// One line for each probe: "passed hop_v4.transfer", "limited limit.splice_read: splice(2) does not ...".
std::string to_text(const ProbeReport& report);
// What is off and why, each reason that counted, each joined pair, each member and why its last message went as it did.
std::string to_text(const ProvenSplice& proven);

// Statistics, a block at "fastpath.splice.": messages for each reason, then these.
enum SpliceStat : uint16_t {
  kSpliceHopBytes = FP_SPLICE_REASON_COUNT,
  kSpliceJoinedBytes,
  kSpliceHopV4,  // gauges: 1 if that piece is on
  kSpliceHopV6,
  kSpliceJoinedV4,
  kSpliceJoinedV6,
  kSpliceHops,        // gauge: connections offered as hops now
  kSpliceHopOffered,  // offers made, then those refused by reason
  kSpliceHopNotYet,
  kSpliceHopUnknown,
  kSpliceHopUnfit,
  kSpliceHopFailed,
  kSplicePairs,       // gauge: joined pairs now
  kSpliceJoinOffered,
  kSpliceJoinNotYet,
  kSpliceJoinUnknown,
  kSpliceJoinUnfit,
  kSpliceJoinFailed,
  kSpliceJoinPaid,    // pairs that ended, by what they brought
  kSpliceJoinCost,
  kSpliceTurnBytesMax,  // gauges: the rule, and its reasons: the cost of a message in per cent of userspace's
  kSpliceMeasured,
  kSpliceHopRoundTrip,
  kSpliceHopOneWay = kSpliceHopRoundTrip + kWorthBytes.size(),
  kSpliceJoinedRoundTrip = kSpliceHopOneWay + kWorthBytes.size(),
  kSpliceJoinedOneWay = kSpliceJoinedRoundTrip + kWorthBytes.size(),
  kSpliceWorthEnd = kSpliceJoinedOneWay + kWorthBytes.size() - 1,
  kSpliceStatCount,
};
const stats::Schema& splice_schema();

// Brings a block of that schema up to date; counts from the start of this process.
class SpliceExport {
 public:
  SpliceExport(stats::StatBlockPtr block, const SplicePieces& pieces);
  // The rule of `auto`, and what it follows from.
  void show(const SpliceWorth& worth, const SpliceRule& rule);
  void update(const std::vector<SpliceCount>& now);
  // For a worker's SpliceOffers, which goes before this.
  stats::StatShard worker(uint16_t index) const { return block_->worker(index); }

 private:
  stats::StatBlockPtr block_;
  std::vector<SpliceCount> last_;
};

}  // namespace millrace::fastpath
