// What `auto` makes of measurements, and what a worker learns.
#include "fastpath/splice_rule.h"

#include <gtest/gtest.h>

#include "fastpath/splice_worth.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

// For machines that do other work besides.
constexpr std::chrono::seconds kPatience{60};

// Handing over costs `percent` of what userspace costs, at every size.
SpliceWorth worth_of(double percent) {
  SpliceWorth worth;
  for (size_t size = 0; size < kWorthBytes.size(); ++size) {
    const double base = 10.0 * static_cast<double>(size + 1);
    worth.at(SpliceWay::kUserspace, size) = {base, base, base};
    for (const SpliceWay way : {SpliceWay::kHop, SpliceWay::kJoined}) {
      worth.at(way, size) = {base * percent / 100, base * percent / 100, base * percent / 100};
    }
  }
  return worth;
}

TEST(SpliceRule, UsesWhatIsFasterAtEverySize) {
  const SpliceRule rule = rule_of(worth_of(60));
  EXPECT_TRUE(rule.hop && rule.joined);
  EXPECT_EQ(rule.turn_bytes_max, SpliceRule::kTurnBytesMax);
}

TEST(SpliceRule, LeavesOffWhatIsSlowerForSmallMessages) {
  SpliceWorth worth = worth_of(60);
  worth.at(SpliceWay::kHop, 1).round_trip_us = 100;
  EXPECT_FALSE(rule_of(worth).hop);
  EXPECT_TRUE(rule_of(worth).joined);
  EXPECT_FALSE(rule_of(worth_of(120)).joined);
}

TEST(SpliceRule, JoinsOnlyUpToTheSizeThatPays) {
  SpliceWorth worth = worth_of(60);
  worth.at(SpliceWay::kJoined, 3).one_way_us = 1000;
  EXPECT_EQ(rule_of(worth).turn_bytes_max, 16u * 1024);
  worth.at(SpliceWay::kJoined, 2).stage_us = 1000;
  EXPECT_EQ(rule_of(worth).turn_bytes_max, 1024u);
  worth.at(SpliceWay::kJoined, 0).one_way_us = 1000;
  EXPECT_EQ(rule_of(worth).turn_bytes_max, 64u);
  EXPECT_TRUE(rule_of(worth).joined);
}

TEST(SpliceRule, HasHopsOnlyForExchangesThatPay) {
  SpliceWorth worth = worth_of(60);
  EXPECT_EQ(rule_of(worth).exchange_bytes_max, SpliceRule::kExchangeBytesMax);
  worth.at(SpliceWay::kHop, 3).round_trip_us = 1000;
  EXPECT_EQ(rule_of(worth).exchange_bytes_max, 16u * 1024);
  worth.at(SpliceWay::kHop, 2).round_trip_us = 1000;
  EXPECT_EQ(rule_of(worth).exchange_bytes_max, 1024u);
  EXPECT_TRUE(rule_of(worth).hop);
}

TEST(SpliceRule, ForgivesWhatAMeasurementCannotTell) { EXPECT_TRUE(rule_of(worth_of(104)).joined); }

TEST(SpliceRule, TakesWhatWasNotMeasuredForGood) {
  const SpliceRule rule = rule_of(SpliceWorth{});
  EXPECT_TRUE(rule.hop && rule.joined);
  EXPECT_EQ(rule.turn_bytes_max, SpliceRule::kTurnBytesMax);
}

TEST(SpliceRule, SaysWhatItIs) {
  EXPECT_EQ(to_text(rule_of(worth_of(60)), SplicePolicy::kAuto),
            "rule: auto: hops on, joined pairs after 2 turns of at most 1048576 bytes, "
            "exchanges over hops of at most 4194304 bytes\n");
  EXPECT_EQ(to_text(rule_of(worth_of(150)), SplicePolicy::kAuto), "rule: auto: hops off, joined pairs off\n");
  EXPECT_EQ(to_text(SpliceRule{}, SplicePolicy::kFixed),
            "rule: fixed: hops on, joined pairs after 2 turns of at most 1048576 bytes, "
            "exchanges over hops of at most 4194304 bytes\n");
  EXPECT_EQ(to_text(rule_always(), SplicePolicy::kAlways), "rule: always: every pair and hop that can be had\n");
  SpliceWorth nothing;
  nothing.why_not = "no address";
  EXPECT_EQ(to_text(nothing), "not measured: no address\n");
}

TEST(JoinRule, WaitsLongerAfterPairsThatCostAndLessAfterThoseThatPaid) {
  JoinRule rule{SpliceRule{}};
  EXPECT_EQ(rule.turns_min(), 2u);
  rule.learn(false);
  rule.learn(false);
  EXPECT_EQ(rule.turns_min(), 8u);
  rule.learn(true);
  EXPECT_EQ(rule.turns_min(), 4u);
  for (int i = 0; i < 5; ++i) rule.learn(true);
  EXPECT_EQ(rule.turns_min(), 2u);
  for (int i = 0; i < 50; ++i) rule.learn(false);
  EXPECT_EQ(rule.turns_min(), 1024u);
}

TEST(JoinRule, LearnsNothingWhereThePolicyIsAlways) {
  JoinRule rule(rule_always());
  rule.learn(false);
  EXPECT_EQ(rule.turns_min(), 0u);
}

TEST(PairWorth, CallsAPairCostlyWhoseBytesGoThroughTheDaemon) {
  EXPECT_FALSE(PairWorth().costs(0, 1000)) << "too few to tell";
  EXPECT_TRUE(PairWorth().costs(1000, 100 << 20));
  EXPECT_FALSE(PairWorth().costs(200 << 20, 100 << 20));
}

TEST(PairWorth, ForgetsWhatAPairBroughtLongAgo) {
  PairWorth worth;
  EXPECT_FALSE(worth.costs(1000 << 20, 4 << 20));
  EXPECT_FALSE(worth.costs(1001 << 20, 7 << 20)) << "too few since";
  EXPECT_TRUE(worth.costs(1001 << 20, 8 << 20));
}

TEST(SpliceWorth, IsMeasuredOnThisKernel) {
  MILLRACE_NEEDS_BPF();
  const SpliceWorth worth = measure_splice_worth({}, kPatience);
  ASSERT_EQ(worth.why_not, "");
  for (size_t way = 0; way < kSpliceWayNames.size(); ++way) {
    for (size_t size = 0; size < kWorthBytes.size(); ++size) {
      const WorthCell& cell = worth.cells[way][size];
      EXPECT_GT(cell.round_trip_us, 0) << kSpliceWayNames[way] << " " << kWorthBytes[size];
      EXPECT_GT(cell.one_way_us, 0) << kSpliceWayNames[way] << " " << kWorthBytes[size];
      EXPECT_GE(cell.one_way_us, cell.stage_us);
    }
  }
  RecordProperty("worth", to_text(worth));
  EXPECT_LT(worth.at(SpliceWay::kJoined, 0).round_trip_us, worth.at(SpliceWay::kUserspace, 0).round_trip_us);
}

TEST(SpliceWorth, LeavesOutWhatIsSwitchedOff) {
  MILLRACE_NEEDS_BPF();
  SplicePieces pieces;
  pieces.hop_v4 = pieces.hop_v6 = false;
  const SpliceWorth worth = measure_splice_worth(pieces, kPatience);
  ASSERT_EQ(worth.why_not, "");
  EXPECT_EQ(worth.at(SpliceWay::kHop, 0).round_trip_us, 0);
  EXPECT_GT(worth.at(SpliceWay::kJoined, 0).round_trip_us, 0);
}

}  // namespace
}  // namespace millrace::fastpath
