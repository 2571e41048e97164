#include "fastpath/splice_status.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/log.h"

namespace millrace::fastpath {

namespace {

SplicePieces both(const SplicePieces& a, const SplicePieces& b) {
  return {.hop_v4 = a.hop_v4 && b.hop_v4,
          .hop_v6 = a.hop_v6 && b.hop_v6,
          .joined_v4 = a.joined_v4 && b.joined_v4,
          .joined_v6 = a.joined_v6 && b.joined_v6};
}

std::string text_of(const SpliceMember& member) {
  const std::string_view kind = member.far_cookie != 0 ? "joined" : member.offered ? "hop" : "noted";
  std::string out = fmt::format("{} socket {} {} {} {}", kind, member.cookie, member.local.to_string(),
                                member.active ? "->" : "<-", member.remote.to_string());
  if (member.far_cookie != 0) out += fmt::format(" with socket {}", member.far_cookie);
  if (!member.path.empty()) out += fmt::format(" last {}", member.path);
  return out + fmt::format(" hop_bytes {} joined_bytes {}\n", member.hop_bytes, member.joined_bytes);
}

}  // namespace

ProvenSplice start_proven_splice(SpliceOptions options) {
  ProvenSplice out;
  out.report = run_splice_probes();
  const std::string off = out.report.what_is_off();
  options.pieces = both(options.pieces, out.report.pieces);
  if (!options.pieces.any()) {
    out.off = off.empty() ? "every piece is switched off" : off;
  } else if (base::Result<Splice> splice = Splice::start(options); splice.ok()) {
    out.splice.emplace(std::move(*splice));
  } else {
    out.off = splice.error().to_string();
  }
  if (!out.off.empty()) MILLRACE_LOG(kWarn, "fastpath", "no short-circuit: {}", out.off);
  else if (!off.empty()) MILLRACE_LOG(kWarn, "fastpath", "short-circuit without some pieces: {}", off);
  return out;
}

std::string to_text(const ProbeReport& report) {
  std::string out;
  for (const Probe& probe : report.probes) {
    out += fmt::format("{} {}{}{}\n", name(probe.verdict), probe.name, probe.sentence.empty() ? "" : ": ",
                       probe.sentence);
  }
  return out;
}

std::string to_text(const ProvenSplice& proven) {
  if (!proven.splice) return fmt::format("short-circuit: off: {}\n", proven.off);
  const std::string without = proven.report.what_is_off();
  std::string out = without.empty() ? "short-circuit: on\n" : fmt::format("short-circuit: on, without {}\n", without);
  for (const SpliceCount& count : proven.splice->counts()) {
    if (count.messages == 0) continue;
    out += fmt::format("{} {} messages {} bytes  ({})\n", count.name, count.messages, count.bytes, count.text);
  }
  for (const SpliceMember& member : proven.splice->members()) out += text_of(member);
  return out;
}

#define SPLICE_STAT_ROW_(id, name, text) stats::StatDescriptor{name, stats::Kind::kCounter},

const stats::Schema& splice_schema() {
  static constexpr stats::StatDescriptor kStats[] = {
      FP_SPLICE_REASONS(SPLICE_STAT_ROW_)
      {"redirected_hop_bytes", stats::Kind::kCounter, stats::Unit::kBytes},
      {"redirected_joined_bytes", stats::Kind::kCounter, stats::Unit::kBytes},
      {"hop_v4", stats::Kind::kGaugeNeverImport},
      {"hop_v6", stats::Kind::kGaugeNeverImport},
      {"joined_v4", stats::Kind::kGaugeNeverImport},
      {"joined_v6", stats::Kind::kGaugeNeverImport},
      {"hops", stats::Kind::kGaugeNeverImport},
      {"hop_offered", stats::Kind::kCounter},
      {"hop_refused_not_yet", stats::Kind::kCounter},
      {"hop_refused_unknown", stats::Kind::kCounter},
      {"hop_refused_unfit", stats::Kind::kCounter},
      {"hop_refused_failed", stats::Kind::kCounter},
  };
  static_assert(std::size(kStats) == kSpliceStatCount && kSpliceStatCount <= stats::kStatsPerSchemaMax);
  static constexpr stats::Schema kSchema{"fastpath.splice", kStats};
  return kSchema;
}

SpliceExport::SpliceExport(stats::StatBlockPtr block, const SplicePieces& pieces)
    : block_(std::move(block)), last_(FP_SPLICE_REASON_COUNT) {
  stats::StatShard shard = block_->main_shard();
  shard.gauge_set(kSpliceHopV4, pieces.hop_v4 ? 1 : 0);
  shard.gauge_set(kSpliceHopV6, pieces.hop_v6 ? 1 : 0);
  shard.gauge_set(kSpliceJoinedV4, pieces.joined_v4 ? 1 : 0);
  shard.gauge_set(kSpliceJoinedV6, pieces.joined_v6 ? 1 : 0);
}

void SpliceExport::update(const std::vector<SpliceCount>& now) {
  stats::StatShard shard = block_->main_shard();
  for (uint16_t reason = 0; reason < FP_SPLICE_REASON_COUNT; ++reason) {
    const uint64_t more = now[reason].messages - last_[reason].messages;
    if (more > 0) shard.inc(reason, more);
  }
  const auto more_bytes = [&](uint16_t reason) { return now[reason].bytes - last_[reason].bytes; };
  shard.inc(kSpliceHopBytes, more_bytes(FP_SPLICE_REDIRECTED_HOP));
  shard.inc(kSpliceJoinedBytes, more_bytes(FP_SPLICE_REDIRECTED_JOINED));
  last_ = now;
}

}  // namespace millrace::fastpath
