#include "config/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::config {
namespace {

using ::testing::HasSubstr;

struct Parsed {
  Document document;
  Diagnostics diagnostics;
  bool ok = false;

  explicit Parsed(std::string_view text, bool json = false, TreeLimits limits = {}) : document(limits) {
    const uint16_t file = diagnostics.add_file("f");
    ok = (json ? parse_json : parse_yaml)(text, file, document, diagnostics);
  }
  const Node& root() const { return *document.root(); }
  const Node& at(std::string_view key) const { return *root().find(key)->value; }
  std::string said() const { return diagnostics.to_string(); }
};

std::string yaml_says(std::string_view text) {
  return Parsed(text).said();
}
std::string json_says(std::string_view text) {
  return Parsed(text, true).said();
}

TEST(YamlTree, KnowsTheLineAndColumnOfEveryNode) {
  const Parsed yaml("a: 1\nb:\n  - x\n  - {c: d}\n");
  ASSERT_TRUE(yaml.ok);
  EXPECT_EQ(yaml.root().find("b")->key->place.line, 2u);
  const Node& list = yaml.at("b");
  EXPECT_EQ(list.place.line, 3u);
  EXPECT_EQ(list.members[0].value->place.column, 5);
  const Node& d = *list.members[1].value->find("c")->value;
  EXPECT_EQ(d.place.line, 4u);
  EXPECT_EQ(d.place.column, 9);
}

TEST(YamlTree, TellsPlainScalarsAsEnvoyDoes) {
  const Parsed yaml(
      "a: 5\nb: \"5\"\nc: 'yes'\nd: yes\ne: 1.5\nf: ~\ng:\nh: 2147483648\ni: 0x1F\nj: !!str 5\n");
  EXPECT_EQ(scalar_type(yaml.at("a")), ScalarType::kNumber);
  EXPECT_EQ(scalar_type(yaml.at("b")), ScalarType::kText);
  EXPECT_EQ(scalar_type(yaml.at("c")), ScalarType::kText);
  EXPECT_EQ(scalar_type(yaml.at("d")), ScalarType::kBool);
  EXPECT_EQ(scalar_type(yaml.at("e")), ScalarType::kText);
  EXPECT_TRUE(yaml.at("f").is_null());
  EXPECT_TRUE(yaml.at("g").is_null());
  EXPECT_EQ(scalar_type(yaml.at("h")), ScalarType::kText);
  EXPECT_EQ(scalar_type(yaml.at("i")), ScalarType::kNumber);
  EXPECT_EQ(scalar_type(yaml.at("j")), ScalarType::kText);
}

TEST(YamlTree, DropsKeysTaggedIgnore) {
  const Parsed yaml("!ignore shared: &s {x: 1}\nkept: *s\n");
  ASSERT_TRUE(yaml.ok) << yaml.said();
  EXPECT_EQ(yaml.root().members.size(), 1u);
  EXPECT_EQ(yaml.at("kept").members.size(), 1u);
}

TEST(YamlTree, FoldsMergeKeysIn) {
  const Parsed yaml("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\nd: {<<: *b}\n");
  ASSERT_TRUE(yaml.ok) << yaml.said();
  EXPECT_EQ(yaml.at("c").find("x")->value->text, "3");
  EXPECT_EQ(yaml.at("c").find("y")->value->text, "1");
  EXPECT_EQ(yaml.at("c").find("z")->value->text, "2");
  EXPECT_EQ(yaml.at("c").find("<<"), nullptr);
  EXPECT_EQ(yaml.at("d").members.size(), 2u);
  EXPECT_EQ(yaml_says("a: 1\n<<: 5\n"),
            "f:2:5: '<<' merges the number 5; give it an alias of a mapping, or a list of them\n");
}

TEST(YamlTree, RefusesAKeyWrittenTwice) {
  EXPECT_EQ(yaml_says("a: 1\nb: 2\na: 3\n"), "f:3:1: the key 'a' is written twice; first at line 1\n");
  EXPECT_EQ(json_says("{\"a\": 1,\n \"a\": 2}"), "f:2:2: the key 'a' is written twice; first at line 1\n");
}

TEST(YamlTree, RefusesASecondDocument) {
  EXPECT_THAT(yaml_says("a: 1\n---\nb: 2\n"), HasSubstr("a second YAML document starts here"));
  EXPECT_TRUE(Parsed("---\na: 1\n...\n").ok);
}

TEST(YamlTree, ReadsAnEmptyFileAsNothing) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n"}) {
    const Parsed yaml(text);
    EXPECT_TRUE(yaml.ok) << text;
    EXPECT_TRUE(yaml.root().is_null());
  }
  EXPECT_TRUE(Parsed(" \n", true).root().is_null());
}

TEST(YamlTree, ReportsSyntaxErrorsWithTheirLine) {
  EXPECT_THAT(yaml_says("a:\n\tb: 1\n"), HasSubstr("f:2:"));
  EXPECT_THAT(yaml_says("a:\n\tb: 1\n"), HasSubstr("a tab in the indentation"));
  EXPECT_THAT(yaml_says("a: [1, 2\nb: 3\n"), HasSubstr("f:2:"));
  EXPECT_THAT(yaml_says("a: \"unclosed\n"), HasSubstr("f:1:4: a quote that is never closed"));
  EXPECT_THAT(yaml_says("b: 'closed'\na: 'it''s\n"), HasSubstr("f:2:4: a quote that is never closed"));
  EXPECT_EQ(yaml_says("a: \"x\\\"\"\nb: 'it''s'\nc: |\n  \"text\n"), "");
  EXPECT_THAT(yaml_says("a: b: c\n"), HasSubstr("f:1:"));
  EXPECT_THAT(yaml_says("a: *nowhere\n"), HasSubstr("f:1:4: YAML syntax"));
  EXPECT_THAT(yaml_says("{a: {b: 1}: c}\n"), HasSubstr("f:1:"));
  EXPECT_THAT(yaml_says("? [a]\n: b\n"), HasSubstr("f:1:3: a list as a key"));
}

TEST(YamlTree, RefusesWhatIsNoText) {
  EXPECT_EQ(yaml_says(std::string_view("a: 1\nb: \0\n", 10)),
            "f:2:4: a NUL byte; the file must be text in UTF-8\n");
  EXPECT_EQ(yaml_says("a: \xff\n"), "f:1:4: not valid UTF-8; the file must be text in UTF-8\n");
  EXPECT_EQ(yaml_says("a: \xc3\xa9\nb: \xe2\x82\n"),
            "f:2:4: not valid UTF-8; the file must be text in UTF-8\n");
  for (const char* bad :
       {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\x80", "\xf0\x82\x82\xac"}) {
    EXPECT_FALSE(Parsed(bad).ok);
  }
  EXPECT_TRUE(Parsed("a: \xf0\x9f\x8c\x8a \xe2\x82\xac").ok);
}

TEST(YamlTree, LimitsNesting) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  EXPECT_THAT(yaml_says(deep), HasSubstr("levels deep"));
  EXPECT_THAT(json_says(deep), HasSubstr("levels deep"));
  std::string indented;
  for (int i = 0; i < 300; ++i) indented += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_THAT(yaml_says(indented), HasSubstr("nested more than 200 levels deep"));
}

TEST(YamlTree, LimitsWhatAliasesStandFor) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string above = std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + above;
    for (int j = 0; j < 8; ++j) bomb += ", *a" + above;
    bomb += "]\n";
  }
  EXPECT_THAT(yaml_says(bomb), HasSubstr("aliases stand for more than 1000000 nodes"));
}

TEST(YamlTree, RefusesAnAliasInsideItsOwnAnchor) {
  EXPECT_THAT(yaml_says("a: &a [1, *a]\n"), HasSubstr("an alias inside its own anchor"));
}

TEST(YamlTree, LimitsTheLengthOfAFile) {
  TreeLimits limits;
  limits.bytes = 10;
  EXPECT_THAT(Parsed("aaaaaaaaaaa: 1", false, limits).said(), HasSubstr("longer than 10 bytes"));
  EXPECT_TRUE(Parsed("aaaaaa: 1", false, limits).ok);
}

TEST(JsonTree, KnowsTheLineAndColumnOfEveryNode) {
  const Parsed json("{\n  \"a\": [1,\n    \"x\"]\n}", true);
  ASSERT_TRUE(json.ok) << json.said();
  EXPECT_EQ(json.root().find("a")->key->place.line, 2u);
  const Node& x = *json.at("a").members[1].value;
  EXPECT_EQ(x.place.line, 3u);
  EXPECT_EQ(x.place.column, 5);
}

TEST(JsonTree, KeepsTheTypesOfItsScalars) {
  const Parsed json(R"({"a": 1.5, "b": "1.5", "c": true, "d": null, "e": -0.1e+5, "f": "yes"})", true);
  ASSERT_TRUE(json.ok) << json.said();
  EXPECT_EQ(scalar_type(json.at("a")), ScalarType::kNumber);
  EXPECT_EQ(scalar_type(json.at("b")), ScalarType::kText);
  EXPECT_EQ(scalar_type(json.at("c")), ScalarType::kBool);
  EXPECT_TRUE(bool_of(json.at("c")));
  EXPECT_TRUE(json.at("d").is_null());
  EXPECT_EQ(scalar_type(json.at("e")), ScalarType::kNumber);
  EXPECT_EQ(scalar_type(json.at("f")), ScalarType::kText);
}

TEST(JsonTree, ReadsEscapes) {
  const Parsed json(R"({"a": "\"\\\/\b\f\n\r\t\u00e9\ud83c\udf0a"})", true);
  ASSERT_TRUE(json.ok) << json.said();
  EXPECT_EQ(json.at("a").text, "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x8c\x8a");
}

TEST(JsonTree, NamesTheUsualSlips) {
  EXPECT_EQ(json_says("{\"a\": 1,}"), "f:1:9: JSON syntax: a comma after the last entry; remove it\n");
  EXPECT_EQ(json_says("{'a': 1}"), "f:1:2: JSON syntax: expected a key in double quotes instead of ''a''\n");
  EXPECT_EQ(json_says("{\"a\": x}"),
            "f:1:7: JSON syntax: expected a value instead of 'x'; text stands in double quotes\n");
  EXPECT_EQ(json_says("{\"a\": 'x'}"),
            "f:1:7: JSON syntax: a single quote; strings stand in double quotes\n");
  EXPECT_EQ(json_says("{\"a\": // x\n1}"),
            "f:1:7: JSON syntax: a comment; JSON has none; name the file .yaml\n");
  EXPECT_EQ(json_says("{\"a\" 1}"), "f:1:6: JSON syntax: expected ':' after the key instead of '1'\n");
  EXPECT_EQ(json_says("{\"a\": 1 \"b\": 2}"), "f:1:9: JSON syntax: expected ',' or '}' instead of '\"b\"'\n");
  EXPECT_EQ(json_says("{\"a\": 1"),
            "f:1:8: JSON syntax: expected ',' or '}' instead of the end of the file\n");
  EXPECT_EQ(json_says("{} {}"), "f:1:4: JSON syntax: text after the end of the document\n");
}

TEST(JsonTree, RefusesWhatIsNoJson) {
  for (const char* bad : {"{\"a\": 01}", "{\"a\": .5}", "{\"a\": 1.}", "{\"a\": +1}", "{\"a\": 1e}",
                          "{\"a\": \"x", "{\"a\": \"\n\"}", "[\"\\x\"]", "[\"\\ud800\"]", "[\"\\u12g4\"]",
                          "[\"\\u0000\"]", "[\"\\ud83cx\"]", "[", "]", ",", "nul", "[\"\\", "[\"\\u1"}) {
    EXPECT_FALSE(Parsed(bad, true).ok) << bad;
  }
}

TEST(YamlTree, ReadsJsonToo) {
  const Parsed yaml("{\n  \"a\": [1, true, \"x\"],\n  \"b\": {\"c\": null}\n}\n");
  ASSERT_TRUE(yaml.ok) << yaml.said();
  EXPECT_EQ(yaml.at("a").members.size(), 3u);
  EXPECT_TRUE(yaml.at("b").find("c")->value->is_null());
}

}  // namespace
}  // namespace millrace::config
