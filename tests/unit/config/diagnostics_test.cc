#include "config/diagnostics.h"

#include <gtest/gtest.h>

#include "config/similar.h"

namespace millrace::config {
namespace {

TEST(FieldPath, GrowsAndShrinks) {
  FieldPath path;
  path.push_field("static_resources");
  path.push_field("listeners");
  path.push_index(3);
  path.push_field("metadata");
  path.push_key("envoy.lb");
  EXPECT_EQ(path.text(), "static_resources.listeners[3].metadata[\"envoy.lb\"]");
  path.pop();
  path.pop();
  path.pop();
  EXPECT_EQ(path.text(), "static_resources.listeners");
  EXPECT_EQ(path.depth(), 2u);
}

TEST(Positions, FindsTheLongestKnownPrefix) {
  Positions positions;
  positions.set_root({1, 1, 0});
  const auto a = positions.add_field(Positions::kRoot, "a", {2, 1, 0});
  const auto a0 = positions.add_index(a, 0, {3, 1, 0});
  positions.add_index(a, 1, {4, 1, 0});
  const auto map = positions.add_field(a0, "map", {5, 1, 0});
  positions.add_key(map, "x.y[0]", {6, 1, 0});
  EXPECT_EQ(positions.find("").line, 1u);
  EXPECT_EQ(positions.find("zz.y").line, 1u);
  EXPECT_EQ(positions.find("a").line, 2u);
  EXPECT_EQ(positions.find("a[7].b").line, 2u);
  EXPECT_EQ(positions.find("a[1].b").line, 4u);
  EXPECT_EQ(positions.find("a[0].map[\"x.y[0]\"]").line, 6u);
  EXPECT_EQ(positions.find("a[0].map[\"other\"]").line, 5u);
  EXPECT_TRUE(positions.has("a[0].map"));
  EXPECT_FALSE(positions.has("a[0].mop"));
}

TEST(Positions, SurvivesPathsThatAreNone) {
  Positions positions;
  positions.set_root({1, 1, 0});
  positions.add_index(positions.add_field(Positions::kRoot, "a", {2, 1, 0}), 0, {3, 1, 0});
  for (const char* path : {"a[", "a[]", "a[x", "a[\"", "a[\"]", "a[99999999999]", "a..", "a[0"}) {
    EXPECT_GE(positions.find(path).line, 1u) << path;
  }
}

TEST(Positions, MergesAsProtobufDoes) {
  Positions ours;
  const auto list = ours.add_field(Positions::kRoot, "list", {1, 1, 0});
  ours.add_index(list, 0, {2, 1, 0});
  const auto any = ours.add_field(Positions::kRoot, "any", {3, 1, 0});
  ours.set_whole(any);
  ours.add_field(any, "old", {4, 1, 0});
  Positions theirs;
  const auto their_list = theirs.add_field(Positions::kRoot, "list", {11, 1, 1});
  theirs.add_index(their_list, 0, {12, 1, 1});
  const auto their_any = theirs.add_field(Positions::kRoot, "any", {13, 1, 1});
  theirs.set_whole(their_any);
  theirs.add_field(their_any, "new", {14, 1, 1});
  ours.merge(theirs);
  EXPECT_EQ(ours.find("list[0]").line, 2u);
  EXPECT_EQ(ours.find("list[1]").line, 12u);
  EXPECT_EQ(ours.find("list").line, 1u);
  EXPECT_EQ(ours.find("any").line, 13u);
  EXPECT_FALSE(ours.has("any.old"));
  EXPECT_EQ(ours.find("any.new").line, 14u);
}

TEST(Positions, KeepsTheKeysOfWhatItMergedWhenThatIsGone) {
  Positions ours;
  {
    Positions theirs;
    theirs.add_key(theirs.add_field(Positions::kRoot, "map", {1, 1, 1}), std::string(40, 'k'), {2, 1, 1});
    ours.merge(theirs);
  }
  EXPECT_EQ(ours.find("map[\"" + std::string(40, 'k') + "\"]").line, 2u);
}

TEST(Diagnostics, AreSortedByFileAndPlace) {
  Diagnostics diagnostics;
  const uint16_t b = diagnostics.add_file("b.yaml");
  const uint16_t a = diagnostics.add_file("a.yaml");
  diagnostics.error_at({1, 1, a}, "x", "third");
  diagnostics.error_at({9, 3, b}, "x", "second", "mend it");
  diagnostics.warning_at({9, 2, b}, "", "first");
  EXPECT_EQ(diagnostics.to_string(),
            "b.yaml:9:2: warning: first\nb.yaml:9:3: x: second; mend it\na.yaml:1:1: x: third\n");
  EXPECT_EQ(diagnostics.errors(), 2u);
  EXPECT_EQ(diagnostics.warnings(), 1u);
}

TEST(Diagnostics, CountWhatTheyDoNotKeep) {
  Diagnostics diagnostics;
  diagnostics.add_file("f");
  for (size_t i = 0; i < Diagnostics::kMost + 7; ++i) diagnostics.error("a", "wrong");
  EXPECT_EQ(diagnostics.list().size(), Diagnostics::kMost);
  EXPECT_EQ(diagnostics.errors(), Diagnostics::kMost + 7);
  EXPECT_TRUE(diagnostics.to_string().ends_with("and 7 more\n"));
}

TEST(Diagnostics, WarningsAloneAreNoErrors) {
  Diagnostics diagnostics;
  diagnostics.warning("a", "hm");
  EXPECT_FALSE(diagnostics.has_errors());
  EXPECT_EQ(diagnostics.to_string(), "warning: a: hm\n");
}

TEST(Similar, CountsEdits) {
  EXPECT_EQ(edit_distance("cluster", "cluster", 5), 0u);
  EXPECT_EQ(edit_distance("cluster", "clutser", 5), 1u);
  EXPECT_EQ(edit_distance("cluster", "Clusters", 5), 1u);
  EXPECT_EQ(edit_distance("stat_prefix", "statPrefix", 5), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 5), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting", 2), 3u);
  EXPECT_EQ(edit_distance("", "abc", 5), 3u);
  EXPECT_EQ(edit_distance("abcdefgh", "x", 3), 4u);
}

TEST(Similar, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> names{"prefix", "path", "safe_regex", "headers"};
  EXPECT_EQ(closest_name("prefx", names), "prefix");
  EXPECT_EQ(closest_name("safeRegx", names), "safe_regex");
  EXPECT_EQ(closest_name("header", names), "headers");
  EXPECT_EQ(closest_name("timeout", names), "");
}

TEST(Similar, PrefersTypesThatEndRight) {
  const std::vector<std::string> types{"e.filters.http.router.v3.Router", "e.network.thrift.router.v3.Router",
                                       "e.buffer.v3.Buffer", "e.a.v3.Config", "e.b.v3.Config"};
  EXPECT_EQ(closest_type("e.filter.http.router.v2.Router", types), "e.filters.http.router.v3.Router");
  EXPECT_EQ(closest_type("old.place.v2.Buffer", types), "e.buffer.v3.Buffer");
  EXPECT_EQ(closest_type("e.golang.v3.Config", types), "");
  EXPECT_EQ(closest_type("e.bufer.v3.Bufer", types), "e.buffer.v3.Buffer");
}

TEST(Diagnostics, TellsWhetherAnErrorIsAboutAField) {
  Diagnostics diagnostics;
  diagnostics.error("a.list[1].name", "bad");
  diagnostics.warning("w", "odd");
  EXPECT_TRUE(diagnostics.has_error_about("a.list[1].name"));
  EXPECT_TRUE(diagnostics.has_error_about("a"));
  EXPECT_TRUE(diagnostics.has_error_about("a.list"));
  EXPECT_TRUE(diagnostics.has_error_about("a.list[1].name.first"));
  EXPECT_FALSE(diagnostics.has_error_about("a.list[1].names"));
  EXPECT_FALSE(diagnostics.has_error_about("a.list[10]"));
  EXPECT_FALSE(diagnostics.has_error_about("a.list[1].value"));
  EXPECT_FALSE(diagnostics.has_error_about("w"));
}

}  // namespace
}  // namespace millrace::config
