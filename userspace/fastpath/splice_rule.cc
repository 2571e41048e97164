#include "fastpath/splice_rule.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::fastpath {

namespace {

// Differences that a measurement of a millisecond cannot tell.
constexpr double kTolerance = 1.05;
// Sizes that decide whether a way is used at all.
constexpr size_t kSmallSizes = 2;

bool not_above(double mine, double theirs) { return mine == 0 || theirs == 0 || mine <= theirs * kTolerance; }

bool answers_faster(const SpliceWorth& worth, SpliceWay way, size_t size) {
  return not_above(worth.at(way, size).round_trip_us, worth.at(SpliceWay::kUserspace, size).round_trip_us);
}

bool flows_faster(const SpliceWorth& worth, SpliceWay way, size_t size) {
  const WorthCell& mine = worth.at(way, size);
  const WorthCell& theirs = worth.at(SpliceWay::kUserspace, size);
  return not_above(mine.one_way_us, theirs.one_way_us) && not_above(mine.stage_us, theirs.stage_us);
}

bool pays(const SpliceWorth& worth, SpliceWay way) {
  for (size_t size = 0; size < kSmallSizes; ++size) {
    if (!answers_faster(worth, way, size)) return false;
  }
  return true;
}

}  // namespace

SpliceRule rule_of(const SpliceWorth& worth) {
  SpliceRule rule;
  rule.hop = pays(worth, SpliceWay::kHop);
  rule.joined = pays(worth, SpliceWay::kJoined);
  for (size_t size = kSmallSizes; size < kWorthBytes.size(); ++size) {
    if (answers_faster(worth, SpliceWay::kHop, size)) continue;
    rule.exchange_bytes_max = kWorthBytes[size - 1];
    break;
  }
  for (size_t size = 0; size < kWorthBytes.size(); ++size) {
    if (answers_faster(worth, SpliceWay::kJoined, size) && flows_faster(worth, SpliceWay::kJoined, size)) continue;
    // What is smaller, or as large as the last size that paid; single bytes and short lines in any case.
    rule.turn_bytes_max = size == 0 ? kWorthBytes[0] : kWorthBytes[size - 1];
    break;
  }
  return rule;
}

SpliceRule rule_always() {
  SpliceRule rule;
  rule.turns_min = 0;
  rule.turn_bytes_max = UINT64_MAX;
  rule.exchange_bytes_max = UINT64_MAX;
  return rule;
}

void JoinRule::learn(bool paid) {
  if (rule_.turns_min == 0) return;
  turns_min_ = paid ? std::max(rule_.turns_min, turns_min_ / 2) : std::min(kTurnsMax, turns_min_ * 2);
}

std::string to_text(const SpliceWorth& worth) {
  if (!worth.why_not.empty()) return fmt::format("not measured: {}\n", worth.why_not);
  std::string out;
  for (size_t size = 0; size < kWorthBytes.size(); ++size) {
    out += fmt::format("measured {} bytes, us:", kWorthBytes[size]);
    for (size_t way = 0; way < kSpliceWayNames.size(); ++way) {
      const WorthCell& cell = worth.cells[way][size];
      out += fmt::format("{} {} round trip {:.2f} one way {:.2f} busiest {:.2f}", way == 0 ? "" : ";",
                         kSpliceWayNames[way], cell.round_trip_us, cell.one_way_us, cell.stage_us);
    }
    out += "\n";
  }
  return out + fmt::format("measured in {} us\n", worth.took_us);
}

std::string to_text(const SpliceRule& rule, SplicePolicy policy) {
  if (policy == SplicePolicy::kAlways) return "rule: always: every pair and hop that can be had\n";
  std::string joined = "off";
  if (rule.joined) {
    joined = fmt::format("after {} turns of at most {} bytes", rule.turns_min, rule.turn_bytes_max);
  }
  std::string hops;
  if (rule.hop) hops = fmt::format(", exchanges over hops of at most {} bytes", rule.exchange_bytes_max);
  return fmt::format("rule: {}: hops {}, joined pairs {}{}\n", policy == SplicePolicy::kFixed ? "fixed" : "auto",
                     rule.hop ? "on" : "off", joined, hops);
}

}  // namespace millrace::fastpath
