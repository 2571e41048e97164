// The programs' counts by reason (include/fp_reasons.h), read from the per-CPU map, and the block of statistics
// "fastpath." that shows them. They outlive the daemon with the map. Main thread.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/pin_dir.h"
#include "fp_reasons.h"
#include "stats/schema.h"
#include "stats/stats.h"

namespace millrace::fastpath {

struct Reason {
  std::string_view name;
  std::string_view text;  // what it means, for operators
};
// Indexed by fp_reason.
const std::array<Reason, FP_REASON_COUNT>& reasons();

using Counts = std::array<uint64_t, FP_REASON_COUNT>;

class Counters {
 public:
  static base::Result<Counters> open(const PinDir& pins);
  Counts read() const;

 private:
  explicit Counters(Fd map);
  Fd map_;
  uint32_t cpus_ = 0;
};

// The statistics: one counter for each reason, then the gauges below and what the daemon counts itself.
enum FastpathGauge : uint16_t {
  kGaugeActive = FP_REASON_COUNT,
  kGaugeServices,
  kGaugeEndpoints,
  kGaugeLinks,
  kCounterResets,
  kCounterResetsMissed,
  kStatCount,
};
const stats::Schema& fastpath_schema();

// Brings a block of that schema up to date with the map: what was counted since the last call is added, so the
// statistics count what happened in this process's time and can be reset as others can.
class CounterExport {
 public:
  CounterExport(stats::StatBlockPtr block, const Counts& start) : block_(std::move(block)), last_(start) {}
  void update(const Counts& now);
  stats::StatShard gauges() { return block_->main_shard(); }

 private:
  stats::StatBlockPtr block_;
  Counts last_;
};

}  // namespace millrace::fastpath
