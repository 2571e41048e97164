#include "route/host_index.h"

#include <gtest/gtest.h>

namespace millrace::route {
namespace {

constexpr uint32_t kNone = HostIndex::kNone;

TEST(HostIndex, PrefersExactThenLongestSuffixThenLongestPrefixThenAny) {
  HostIndex index;
  const char* domains[] = {"*", "foo.*", "foo.bar.*", "*.com", "*.bar.com", "*-x.bar.com", "foo.bar.com"};
  for (uint32_t i = 0; i < 7; ++i) EXPECT_EQ(index.add(domains[i], i), kNone);
  EXPECT_EQ(index.find("foo.bar.com"), 6u);
  EXPECT_EQ(index.find("a-x.bar.com"), 5u);
  EXPECT_EQ(index.find("a.bar.com"), 4u);
  EXPECT_EQ(index.find("bar.com"), 3u);
  EXPECT_EQ(index.find("foo.bar.net"), 2u);
  EXPECT_EQ(index.find("foo.net"), 1u);
  EXPECT_EQ(index.find("net"), 0u);
}

TEST(HostIndex, WildcardNeedsAtLeastOneCharacter) {
  HostIndex index;
  index.add("*.foo.com", 0);
  index.add("foo.*", 1);
  EXPECT_EQ(index.find(".foo.com"), kNone);
  EXPECT_EQ(index.find("foo.com"), 1u);
  EXPECT_EQ(index.find("foo."), kNone);
  EXPECT_EQ(index.find("x.foo.com"), 0u);
}

TEST(HostIndex, IgnoresCase) {
  HostIndex index;
  index.add("WWW.Example.com", 0);
  index.add("*.Org", 1);
  EXPECT_EQ(index.find("www.eXample.COM"), 0u);
  EXPECT_EQ(index.find("A.ORG"), 1u);
}

TEST(HostIndex, NamesTheHolderOfATakenDomain) {
  HostIndex index;
  for (const char* domain : {"*", "a.com", "*.a.com", "a.*"}) {
    EXPECT_EQ(index.add(domain, 3), kNone);
    EXPECT_EQ(index.add(domain, 4), 3u) << domain;
  }
  EXPECT_EQ(index.add("A.com", 4), 3u);
}

TEST(HostIndex, TakesThePortAsPartOfTheNameUnlessStripped) {
  HostIndex index;
  index.add("a.com", 0);
  index.add("a.com:8080", 1);
  EXPECT_EQ(index.find("a.com:8080"), 1u);
  EXPECT_EQ(index.find("a.com:9090"), kNone);
  EXPECT_EQ(without_port("a.com:9090"), "a.com");
  EXPECT_EQ(without_port("[::1]:80"), "[::1]");
  EXPECT_EQ(without_port("[::1]"), "[::1]");
  EXPECT_EQ(without_port("a.com"), "a.com");
}

TEST(HostIndex, AnOverlongAuthorityOnlyMeetsTheCatchAll) {
  HostIndex index;
  index.add("*.com", 0);
  const std::string long_name = std::string(5000, 'a') + ".com";
  EXPECT_EQ(index.find(long_name), kNone);
  index.add("*", 1);
  EXPECT_EQ(index.find(long_name), 1u);
}

}  // namespace
}  // namespace millrace::route
