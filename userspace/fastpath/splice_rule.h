// What the short-circuit's policy `auto` decides by: what messages cost on the ways that they can take, measured at
// start (splice_worth.h) and learnt from pairs that ended. Pure; a JoinRule is one worker's.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace millrace::fastpath {

enum class SplicePolicy : uint8_t {
  kAuto,    // where it was measured to pay
  kAlways,  // wherever it can be had
  kFixed,   // as kAuto where nothing was measured: the same decision at every start
};

enum class SpliceWay : uint8_t { kDirect, kUserspace, kHop, kJoined };
inline constexpr std::array<const char*, 4> kSpliceWayNames{"direct", "userspace", "hop", "joined"};
inline constexpr std::array<uint32_t, 4> kWorthBytes{64, 1024, 16 * 1024, 256 * 1024};

// What one message of a size costs on a way, in microseconds of all system calls that it takes; 0: not measured.
struct WorthCell {
  double round_trip_us = 0;  // there and back
  double one_way_us = 0;     // of a flow in one direction
  double stage_us = 0;       // of that, what the busiest of sender, proxy and reader spends: each with a CPU of its own
};

struct SpliceWorth {
  std::array<std::array<WorthCell, kWorthBytes.size()>, kSpliceWayNames.size()> cells{};
  uint32_t took_us = 0;
  std::string why_not;  // nothing was measured, and why

  const WorthCell& at(SpliceWay way, size_t size) const { return cells[static_cast<size_t>(way)][size]; }
  WorthCell& at(SpliceWay way, size_t size) { return cells[static_cast<size_t>(way)][size]; }
};

struct SpliceRule {
  static constexpr uint64_t kTurnBytesMax = 1 << 20;
  bool hop = true, joined = true;
  // A pair is joined when its flow has turned so often, with at most so many bytes before they were answered.
  uint32_t turns_min = 2;
  uint64_t turn_bytes_max = kTurnBytesMax;
};

// Of `auto`: a way is used up to the size at which it was measured to be no slower than userspace, in each respect; not
// measured: as if it were. Never for what loses at 64 B and 1 KiB.
SpliceRule rule_of(const SpliceWorth& worth);
// Of `always`: from the first bytes on.
SpliceRule rule_always();

// The rule as a worker applies it. A pair of which more went through the daemon than past it, as its reader was slow,
// was joined too early: members are slower on TCP than others. Such pairs make it wait for twice the turns, up to a
// limit; those that paid take that back.
class JoinRule {
 public:
  JoinRule() = default;
  explicit JoinRule(const SpliceRule& rule) : rule_(rule), turns_min_(rule.turns_min) {}

  uint32_t turns_min() const { return turns_min_; }
  uint64_t turn_bytes_max() const { return rule_.turn_bytes_max; }
  // Whether a pair has cost more than it has brought, by the bytes that went past the daemon and, since it was joined,
  // through it.
  static bool costs(uint64_t past, uint64_t through) { return through >= kCostlyBytes && through > past; }
  void learn(bool paid);

 private:
  static constexpr uint64_t kCostlyBytes = 4 << 20;
  static constexpr uint32_t kTurnsMax = 1024;
  SpliceRule rule_;
  uint32_t turns_min_ = SpliceRule{}.turns_min;
};

// A line for each size, and one for what follows.
std::string to_text(const SpliceWorth& worth);
std::string to_text(const SpliceRule& rule, SplicePolicy policy);

}  // namespace millrace::fastpath
