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
  static constexpr uint64_t kExchangeBytesMax = 4 << 20;
  bool hop = true, joined = true;
  // A pair is joined when its flow has turned so often, with at most so many bytes before they were answered.
  uint32_t turns_min = 2;
  uint64_t turn_bytes_max = kTurnBytesMax;
  // A hop's requests, each with its response, take so many bytes at most. What fits into the budget of unread bytes is
  // faster on a hop at any size (1 MiB by a third), what exceeds it slower than elsewhere, so it stays below.
  uint64_t exchange_bytes_max = kExchangeBytesMax;
  // Whether a pair that costs more than it brings goes back to TCP.
  bool gives_up() const { return turns_min > 0; }
};

// Of `auto`: a way is used up to the size at which it was measured to be no slower than userspace, in each respect; not
// measured: as if it were. Never for what loses at 64 B and 1 KiB.
SpliceRule rule_of(const SpliceWorth& worth);
// Of `always`: from the first bytes on.
SpliceRule rule_always();

// The rule as a worker applies it. A pair of which more goes through the daemon than past it, as its reader is slow,
// was joined too early: members are slower on TCP than others, so it is taken apart. Such pairs make the worker wait
// for twice the turns, up to a limit; those that paid take that back.
class JoinRule {
 public:
  JoinRule() = default;
  explicit JoinRule(const SpliceRule& rule) : rule_(rule), turns_min_(rule.turns_min) {}

  uint32_t turns_min() const { return turns_min_; }
  uint64_t turn_bytes_max() const { return rule_.turn_bytes_max; }
  bool gives_up() const { return rule_.gives_up(); }
  void learn(bool paid);

 private:
  static constexpr uint32_t kTurnsMax = 1024;
  SpliceRule rule_;
  uint32_t turns_min_ = SpliceRule{}.turns_min;
};

// What one pair is worth as long as it is joined, looked at anew whenever so many bytes went through the daemon: what
// it brought before that does not make up for what it costs now.
class PairWorth {
 public:
  // By the bytes that went past the daemon and through it since it was joined: whether it costs more than it brings.
  bool costs(uint64_t past, uint64_t through) {
    if (through - through_ < kWindowBytes) return false;
    const bool costs = through - through_ > past - past_;
    past_ = past;
    through_ = through;
    return costs;
  }

 private:
  static constexpr uint64_t kWindowBytes = 4 << 20;
  uint64_t past_ = 0, through_ = 0;  // when it was looked at
};

// A line for each size, and one for what follows.
std::string to_text(const SpliceWorth& worth);
std::string to_text(const SpliceRule& rule, SplicePolicy policy);

}  // namespace millrace::fastpath
