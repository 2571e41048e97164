#include "http/base64.h"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

std::string encoded(std::string_view text) {
  base::Buffer in, out;
  in.append(text);
  append_base64(in, out);
  EXPECT_TRUE(in.empty());
  return out.to_string();
}

std::string decoded(std::string_view text, size_t step, bool* ok = nullptr) {
  Base64Decoder decoder;
  base::Buffer out;
  bool good = true;
  for (size_t i = 0; i < text.size() && good; i += step) {
    base::Buffer in;
    in.append(text.substr(i, step));
    good = decoder.feed(in, out);
  }
  good = good && decoder.complete();
  if (ok != nullptr) *ok = good;
  return good ? out.to_string() : "bad";
}

TEST(Base64, AgreesWithTheExamplesOfItsRfc) {
  const std::pair<const char*, const char*> cases[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfb", "//77"}};
  for (const auto& [plain, text] : cases) {
    EXPECT_EQ(encoded(plain), text);
    for (size_t step = 1; step < 9; ++step) EXPECT_EQ(decoded(text, step), plain) << text;
  }
}

TEST(Base64, TakesPaddingInTheMiddleOfAStream) {
  EXPECT_EQ(decoded("Zg==Zm8=Zm9v", 1), "ffofoo");
  EXPECT_EQ(decoded("Zg==Zm8=Zm9v", 5), "ffofoo");
}

TEST(Base64, RefusesWhatIsNotBase64) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg=a", "=", "Z===", "Zg===", "Zm9v=", "Zh==", "Zm9=", "Zm 9", "Zm-_"}) {
    EXPECT_EQ(decoded(text, 1), "bad") << text;
  }
}

TEST(Base64, OfAWholeTextMayLackItsPadding) {
  std::string out;
  EXPECT_TRUE(decode_base64("Zg", &out));
  EXPECT_EQ(out, "f");
  EXPECT_TRUE(decode_base64("Zm8=", &out));
  EXPECT_EQ(out, "fo");
  EXPECT_FALSE(decode_base64("Z", &out));
  EXPECT_FALSE(decode_base64("Zg=", &out));
}

}  // namespace
}  // namespace millrace::http
