#include "transcode/json_array.h"

#include <gtest/gtest.h>

namespace millrace::transcode {
namespace {

std::string split(std::string_view text, size_t step, size_t limit = 100) {
  JsonArraySplitter splitter(limit);
  std::string out;
  for (size_t at = 0; at < text.size(); at += step) {
    const auto done = splitter.feed(text.substr(at, step), [&](std::string_view element) {
      out += "<" + std::string(element) + ">";
      return base::Result<void>();
    });
    if (!done.ok()) return out + "!" + done.error().what;
  }
  return out + (splitter.complete() ? "" : "...");
}

TEST(JsonArray, ComesApartHoweverItIsCut) {
  const std::string text = R"( [ {"a":[1,2],"b":"],\"}"} ,2,"x,y" , [[]], "\\" ] )";
  for (size_t step = 1; step <= text.size(); ++step) {
    EXPECT_EQ(split(text, step), R"(<{"a":[1,2],"b":"],\"}"} ><2><"x,y" ><[[]]><"\\" >)") << step;
  }
}

TEST(JsonArray, MayBeEmptyOrMissing) {
  EXPECT_EQ(split("[]", 1), "");
  EXPECT_EQ(split(" [ ] \n", 1), "");
  EXPECT_EQ(split("  ", 1), "");
}

TEST(JsonArray, SaysWhatIsWrong) {
  EXPECT_EQ(split("{}", 1), "!expected a JSON array");
  EXPECT_EQ(split("[1,]", 1), "<1>!an element of the JSON array is empty");
  EXPECT_EQ(split("[1] 2", 1), "<1>!something follows the JSON array");
  EXPECT_EQ(split("[}]", 1), "!the brackets of the JSON array do not match");
  EXPECT_EQ(split("[1,{", 1), "<1>...");
  EXPECT_EQ(split("[\"]", 1), "...");
  EXPECT_EQ(split("[12345]", 1, 4), "!an element of the JSON array is too large");
}

}  // namespace
}  // namespace millrace::transcode
