#include "config/similar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(edit_distance("cluster", "cluster", 5), 0u);
  EXPECT_EQ(edit_distance("clster", "cluster", 5), 1u);
  EXPECT_EQ(edit_distance("clutser", "cluster", 5), 1u);
  EXPECT_EQ(edit_distance("Cluster", "cluster", 5), 0u);
  EXPECT_EQ(edit_distance("", "abc", 5), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 5), 3u);
}

TEST(EditDistance, StopsAtTheLimit) {
  EXPECT_EQ(edit_distance("abcdefgh", "stuvwxyz", 2), 3u);
  EXPECT_EQ(edit_distance("a", "abcdefgh", 2), 3u);
}

TEST(ClosestNames, OrdersByDistanceAndLeavesFarOnesOut) {
  const std::vector<std::string> fields = {"name", "listeners", "clusters", "lb_policy", "load_assignment"};
  EXPECT_THAT(closest_names("listners", fields), ElementsAre("listeners"));
  EXPECT_THAT(closest_names("lbPolcy", fields), ElementsAre("lb_policy"));
  EXPECT_THAT(closest_names("loadAssignmnt", fields), ElementsAre("load_assignment"));
  EXPECT_THAT(closest_names("completely_different", fields), IsEmpty());
}

TEST(ClosestNames, ReturnsAtMostMaxCount) {
  EXPECT_THAT(closest_names("aaaa", {"aaab", "aaac", "aaaa", "aaad"}, 2), ElementsAre("aaaa", "aaab"));
}

}  // namespace
}  // namespace millrace::config
