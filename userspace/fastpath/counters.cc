#include "fastpath/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

#include "fastpath/object.h"

namespace millrace::fastpath {

using base::Result;

#define REASON_ROW_(id, name, text) Reason{name, text},
#define STAT_ROW_(id, name, text) stats::StatDescriptor{name, stats::Kind::kCounter},

const std::array<Reason, FP_REASON_COUNT>& reasons() {
  static constexpr std::array<Reason, FP_REASON_COUNT> kReasons{FP_REASONS(REASON_ROW_)};
  return kReasons;
}

const stats::Schema& fastpath_schema() {
  static constexpr stats::StatDescriptor kStats[] = {
      FP_REASONS(STAT_ROW_)
      {"active", stats::Kind::kGaugeNeverImport},
      {"services", stats::Kind::kGaugeNeverImport},
      {"endpoints", stats::Kind::kGaugeNeverImport},
      {"links", stats::Kind::kGaugeNeverImport},
      {"connections_reset", stats::Kind::kCounter},
      {"connections_not_reset", stats::Kind::kCounter},
  };
  static_assert(std::size(kStats) == kStatCount && kStatCount <= stats::kStatsPerSchemaMax);
  static constexpr stats::Schema kSchema{"fastpath", kStats};
  return kSchema;
}

Counters::Counters(Fd map) : map_(std::move(map)), cpus_(static_cast<uint32_t>(libbpf_num_possible_cpus())) {}

Result<Counters> Counters::open(const PinDir& pins) {
  Fd map(bpf_obj_get(pins.map_path("fp_counters").c_str()));
  if (!map) return bpf_failure(errno, "opening the map of counters");
  return Counters(std::move(map));
}

Counts Counters::read() const {
  Counts out{};
  std::vector<uint64_t> cells(cpus_);
  for (uint32_t reason = 0; reason < FP_REASON_COUNT; ++reason) {
    if (bpf_map_lookup_elem(map_.get(), &reason, cells.data()) != 0) continue;
    for (const uint64_t cell : cells) out[reason] += cell;
  }
  return out;
}

void CounterExport::update(const Counts& now) {
  stats::StatShard shard = block_->main_shard();
  for (uint16_t reason = 0; reason < FP_REASON_COUNT; ++reason) {
    if (now[reason] > last_[reason]) shard.inc(reason, now[reason] - last_[reason]);
  }
  last_ = now;
}

}  // namespace millrace::fastpath
