#include "fastpath/splice_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "fastpath/splice_worth.h"

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

// Measures, and takes away what is slower than going without.
void leave_off_what_does_not_pay(SplicePieces& pieces, ProvenSplice& out, std::string& off) {
  out.worth = measure_splice_worth(pieces);
  out.rule = rule_of(out.worth);
  const auto add = [&off](const char* what) {
    off += fmt::format("{}{} were measured to be slower than userspace", off.empty() ? "" : "; ", what);
  };
  if (!out.rule.hop) {
    pieces.hop_v4 = pieces.hop_v6 = false;
    add("hops");
  }
  if (!out.rule.joined) {
    pieces.joined_v4 = pieces.joined_v6 = false;
    add("joined pairs");
  }
}

}  // namespace

ProvenSplice start_proven_splice(SpliceOptions options, SplicePolicy policy) {
  ProvenSplice out;
  out.policy = policy;
  out.report = run_splice_probes();
  std::string off = out.report.what_is_off();
  options.pieces = both(options.pieces, out.report.pieces);
  if (policy == SplicePolicy::kAlways) out.rule = rule_always();
  else if (policy == SplicePolicy::kAuto && options.pieces.any()) leave_off_what_does_not_pay(options.pieces, out, off);
  out.report.pieces = options.pieces;
  options.rule = out.rule;
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
  if (proven.policy == SplicePolicy::kAuto) out += to_text(proven.worth);
  out += to_text(proven.rule, proven.policy);
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
      {"pairs", stats::Kind::kGaugeNeverImport},
      {"join_offered", stats::Kind::kCounter},
      {"join_refused_not_yet", stats::Kind::kCounter},
      {"join_refused_unknown", stats::Kind::kCounter},
      {"join_refused_unfit", stats::Kind::kCounter},
      {"join_refused_failed", stats::Kind::kCounter},
      {"join_paid", stats::Kind::kCounter},
      {"join_cost", stats::Kind::kCounter},
      {"turn_bytes_max", stats::Kind::kGaugeNeverImport, stats::Unit::kBytes},
      {"measured", stats::Kind::kGaugeNeverImport},
      {"hop_round_trip_percent_64", stats::Kind::kGaugeNeverImport},
      {"hop_round_trip_percent_1024", stats::Kind::kGaugeNeverImport},
      {"hop_round_trip_percent_16384", stats::Kind::kGaugeNeverImport},
      {"hop_round_trip_percent_262144", stats::Kind::kGaugeNeverImport},
      {"hop_one_way_percent_64", stats::Kind::kGaugeNeverImport},
      {"hop_one_way_percent_1024", stats::Kind::kGaugeNeverImport},
      {"hop_one_way_percent_16384", stats::Kind::kGaugeNeverImport},
      {"hop_one_way_percent_262144", stats::Kind::kGaugeNeverImport},
      {"joined_round_trip_percent_64", stats::Kind::kGaugeNeverImport},
      {"joined_round_trip_percent_1024", stats::Kind::kGaugeNeverImport},
      {"joined_round_trip_percent_16384", stats::Kind::kGaugeNeverImport},
      {"joined_round_trip_percent_262144", stats::Kind::kGaugeNeverImport},
      {"joined_one_way_percent_64", stats::Kind::kGaugeNeverImport},
      {"joined_one_way_percent_1024", stats::Kind::kGaugeNeverImport},
      {"joined_one_way_percent_16384", stats::Kind::kGaugeNeverImport},
      {"joined_one_way_percent_262144", stats::Kind::kGaugeNeverImport},
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

void SpliceExport::show(const SpliceWorth& worth, const SpliceRule& rule) {
  stats::StatShard shard = block_->main_shard();
  shard.gauge_set(kSpliceTurnBytesMax, static_cast<int64_t>(std::min<uint64_t>(rule.turn_bytes_max, INT64_MAX)));
  shard.gauge_set(kSpliceMeasured, worth.took_us > 0 ? 1 : 0);
  const auto percent = [](double mine, double theirs) {
    return theirs > 0 ? static_cast<int64_t>(100 * mine / theirs + 0.5) : int64_t{0};
  };
  const auto at = [](SpliceStat first, size_t size) { return static_cast<uint16_t>(first + size); };
  for (size_t size = 0; size < kWorthBytes.size(); ++size) {
    const WorthCell& base = worth.at(SpliceWay::kUserspace, size);
    const WorthCell& hop = worth.at(SpliceWay::kHop, size);
    const WorthCell& joined = worth.at(SpliceWay::kJoined, size);
    shard.gauge_set(at(kSpliceHopRoundTrip, size), percent(hop.round_trip_us, base.round_trip_us));
    shard.gauge_set(at(kSpliceHopOneWay, size), percent(hop.one_way_us, base.one_way_us));
    shard.gauge_set(at(kSpliceJoinedRoundTrip, size), percent(joined.round_trip_us, base.round_trip_us));
    shard.gauge_set(at(kSpliceJoinedOneWay, size), percent(joined.one_way_us, base.one_way_us));
  }
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
