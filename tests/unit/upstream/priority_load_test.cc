#include "upstream/priority_load.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace millrace::upstream {
namespace {

std::vector<uint32_t> healthy_percents(const std::vector<PriorityLoad>& loads) {
  std::vector<uint32_t> percents;
  for (const PriorityLoad& load : loads) percents.push_back(load.healthy_percent);
  return percents;
}

// The table of Envoy's documentation on priority levels: healthy share of P0, of P1 -> load of P0, P1.
TEST(PriorityLoads, SpillToTheNextLevelOnceOverprovisioningIsUsedUp) {
  struct Row { uint32_t p0, p1, load0, load1; };
  const Row rows[] = {{100, 100, 100, 0}, {72, 100, 100, 0}, {71, 100, 99, 1}, {50, 100, 70, 30},
                      {25, 100, 35, 65},  {0, 100, 0, 100}};
  for (const Row& row : rows) {
    const PriorityHealth levels[] = {{100, row.p0, 0, 0}, {100, row.p1, 0, 0}};
    EXPECT_EQ(healthy_percents(priority_loads(levels, 140, 50)), (std::vector<uint32_t>{row.load0, row.load1}))
        << row.p0;
  }
}

TEST(PriorityLoads, ScaleUpWhenAllLevelsTogetherFallShort) {
  const PriorityHealth levels[] = {{100, 25, 0, 0}, {100, 25, 0, 0}};
  const auto loads = priority_loads(levels, 140, 0);
  EXPECT_EQ(healthy_percents(loads), (std::vector<uint32_t>{50, 50}));
}

TEST(PriorityLoads, DegradedHostsTakeWhatHealthyOnesLeave) {
  const PriorityHealth levels[] = {{100, 25, 75, 0}};
  const auto loads = priority_loads(levels, 140, 50);
  EXPECT_EQ(loads[0].healthy_percent, 35u);
  EXPECT_EQ(loads[0].degraded_percent, 65u);
  EXPECT_FALSE(loads[0].panic);
}

TEST(PriorityLoads, PanicBelowTheThreshold) {
  const PriorityHealth levels[] = {{10, 4, 0, 0}};
  EXPECT_TRUE(priority_loads(levels, 140, 50)[0].panic);
  EXPECT_FALSE(priority_loads(levels, 140, 40)[0].panic);
  EXPECT_FALSE(priority_loads(levels, 140, 0)[0].panic);
}

TEST(PriorityLoads, NoPanicWhileTheLevelsTogetherSuffice) {
  const PriorityHealth levels[] = {{10, 1, 0, 0}, {10, 10, 0, 0}};
  const auto loads = priority_loads(levels, 140, 50);
  EXPECT_FALSE(loads[0].panic);
  EXPECT_EQ(healthy_percents(loads), (std::vector<uint32_t>{14, 86}));
}

TEST(PriorityLoads, InTotalPanicSizeDecides) {
  const PriorityHealth levels[] = {{30, 0, 0, 0}, {10, 0, 0, 0}, {0, 0, 0, 0}};
  const auto loads = priority_loads(levels, 140, 50);
  EXPECT_EQ(healthy_percents(loads), (std::vector<uint32_t>{75, 25, 0}));
  EXPECT_TRUE(loads[0].panic && loads[1].panic);
}

TEST(PriorityLoads, HostsNotYetCheckedDoNotLowerTheShare) {
  const PriorityHealth levels[] = {{10, 2, 0, 8}};
  EXPECT_FALSE(priority_loads(levels, 140, 50)[0].panic);
}

TEST(PriorityLoads, AlwaysSumToAHundred) {
  base::Prng prng(7);
  for (int round = 0; round < 20000; ++round) {
    std::vector<PriorityHealth> levels(1 + prng.below(5));
    for (PriorityHealth& level : levels) {
      level.hosts = static_cast<uint32_t>(prng.below(12));
      level.healthy = static_cast<uint32_t>(prng.below(level.hosts + 1));
      level.degraded = static_cast<uint32_t>(prng.below(level.hosts - level.healthy + 1));
      level.excluded = static_cast<uint32_t>(prng.below(level.hosts - level.healthy - level.degraded + 1));
    }
    uint32_t sum = 0;
    for (const PriorityLoad& load : priority_loads(levels, 140, static_cast<double>(prng.below(101)))) {
      sum += load.healthy_percent + load.degraded_percent;
    }
    ASSERT_EQ(sum, 100u);
  }
}

}  // namespace
}  // namespace millrace::upstream
