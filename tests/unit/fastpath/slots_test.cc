// The alias method's shares and the ranges of slots, without a kernel.
#include "fastpath/slots.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <map>
#include <string>

#include "fastpath/wire.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::address;

// How much of all draws each endpoint gets, by its port.
std::map<uint16_t, double> shares(const std::vector<fp_slot>& slots) {
  std::map<uint16_t, double> out;
  for (const fp_slot& slot : slots) {
    const double first = (slot.first_share + 1.0) / 4294967296.0;
    out[unwired(slot.first).port()] += first / static_cast<double>(slots.size());
    out[unwired(slot.second).port()] += (1 - first) / static_cast<double>(slots.size());
  }
  return out;
}

TEST(Slots, GiveEachEndpointItsWeight) {
  const uint32_t weights[] = {1, 100, 7, 3, 0, 1000, 42};
  std::vector<Endpoint> endpoints;
  double total = 0;
  for (uint16_t i = 0; i < std::size(weights); ++i) {
    endpoints.push_back({address("10.0.0.1", static_cast<uint16_t>(100 + i)), weights[i]});
    total += weights[i];
  }
  const std::vector<fp_slot> slots = make_slots(endpoints, IPPROTO_TCP, 9);
  EXPECT_EQ(slots.size(), 6u);  // the one without weight has none
  const std::map<uint16_t, double> got = shares(slots);
  EXPECT_EQ(got.count(104), 0u);
  for (uint16_t i = 0; i < std::size(weights); ++i) {
    if (weights[i] == 0) continue;
    EXPECT_NEAR(got.at(static_cast<uint16_t>(100 + i)), weights[i] / total, 1e-8) << i;
  }
  for (const fp_slot& slot : slots) EXPECT_EQ(slot.generation, 9u);
}

TEST(Slots, OfOneEndpointAreAllItsOwn) {
  const std::vector<Endpoint> one{{address("::1", 5), 77}};
  const std::vector<fp_slot> slots = make_slots(one, IPPROTO_UDP, 1);
  ASSERT_EQ(slots.size(), 1u);
  EXPECT_EQ(slots[0].first_share, 0xffffffffu);
  EXPECT_EQ(unwired(slots[0].first), one[0].address);
}

TEST(Slots, OfNothingAreNone) { EXPECT_TRUE(make_slots({}, IPPROTO_TCP, 1).empty()); }

TEST(SlotRanges, HandOutWhatWasGivenBackOnlyOnceSettled) {
  SlotRanges ranges(10);
  EXPECT_EQ(ranges.take(6), 0u);
  ranges.give_back(0, 6);
  EXPECT_EQ(ranges.take(5), std::nullopt);
  EXPECT_EQ(ranges.free_slots(), 10u);
  ASSERT_TRUE(ranges.unsettled());
  ranges.settle();
  EXPECT_EQ(ranges.take(10), 0u);
}

TEST(SlotRanges, JoinNeighbours) {
  SlotRanges ranges(9);
  for (uint32_t i = 0; i < 3; ++i) ASSERT_EQ(ranges.take(3), 3 * i);
  ranges.give_back(0, 3);
  ranges.give_back(6, 3);
  ranges.settle();
  EXPECT_EQ(ranges.take(4), std::nullopt);
  ranges.give_back(3, 3);
  ranges.settle();
  EXPECT_EQ(ranges.take(9), 0u);
}

TEST(SlotRanges, ClaimWhatIsInUseOnce) {
  SlotRanges ranges(10);
  EXPECT_TRUE(ranges.claim(4, 3));
  EXPECT_FALSE(ranges.claim(6, 2));
  EXPECT_FALSE(ranges.claim(8, 3));
  EXPECT_EQ(ranges.take(4), 0u);
  EXPECT_EQ(ranges.take(3), 7u);
}

}  // namespace
}  // namespace millrace::fastpath
