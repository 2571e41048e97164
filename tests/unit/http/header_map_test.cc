#include "http/header_map.h"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

std::string dump(const HeaderMap& map) {
  std::string out;
  map.for_each([&](const HeaderMap::Entry& e) { out.append(e.name).append("=").append(e.value).append(";"); });
  return out;
}

TEST(HeaderId, FindsEveryWellKnownNameAndNothingElse) {
  for (size_t i = 0; i < kKnownHeaders; ++i) {
    const Header id = static_cast<Header>(i);
    EXPECT_EQ(header_id(name(id)), id) << name(id);
    std::string changed(name(id));
    for (char& c : changed) {
      const char kept = std::exchange(c, '@');
      EXPECT_EQ(header_id(changed), Header::kOther) << changed;
      c = kept;
    }
    EXPECT_EQ(header_id(changed + "x"), Header::kOther);
  }
  for (std::string_view other :
       {"", "a", "ab", "abc", "x-custom", "sec-websocket-key", "x-envoy-unknown-rq-timeout-ms"}) {
    EXPECT_EQ(header_id(other), Header::kOther) << other;
  }
}

TEST(HeaderMap, GetsTheFirstOfSeveralAndTellsEmptyFromAbsent) {
  HeaderMap map;
  map.add("set-cookie", "a");
  map.add(Header::kSetCookie, "b");
  map.add("x-empty", "");
  map.add(Header::kTe, "");
  EXPECT_EQ(map.get(Header::kSetCookie), "a");
  EXPECT_EQ(map.get("set-cookie"), "a");
  EXPECT_EQ(map.joined("set-cookie"), "a, b");
  EXPECT_TRUE(map.has("x-empty"));
  EXPECT_NE(map.get("x-empty").data(), nullptr);
  EXPECT_NE(map.get(Header::kTe).data(), nullptr);
  EXPECT_EQ(map.get("x-absent").data(), nullptr);
  EXPECT_EQ(map.get(Header::kHost).data(), nullptr);
  EXPECT_EQ(map.size(), 4u);
}

TEST(HeaderMap, SetKeepsThePlaceOfTheFirstAndDropsTheOthers) {
  HeaderMap map;
  map.add("x-a", "1");
  map.add(Header::kVia, "1");
  map.add("x-a", "2");
  map.add(Header::kVia, "2");
  map.add("x-b", "3");
  map.set("x-a", "new");
  map.set(Header::kVia, "proxy");
  map.set("x-c", "4");
  EXPECT_EQ(dump(map), "x-a=new;via=proxy;x-b=3;x-c=4;");
  EXPECT_EQ(map.size(), 4u);
  EXPECT_EQ(map.byte_size(), 3u + 3 + 3 + 5 + 3 + 1 + 3 + 1);
}

TEST(HeaderMap, RemoveMakesTheNextOneFirstOrTheHeaderAbsent) {
  HeaderMap map;
  map.add(Header::kVia, "1");
  map.add("x", "y");
  map.add(Header::kVia, "2");
  EXPECT_EQ(map.remove_if([](const HeaderMap::Entry& e) { return e.value == "1"; }), 1u);
  EXPECT_EQ(map.get(Header::kVia), "2");
  EXPECT_TRUE(map.remove(Header::kVia));
  EXPECT_FALSE(map.remove(Header::kVia));
  EXPECT_FALSE(map.has(Header::kVia));
  EXPECT_TRUE(map.remove("x"));
  EXPECT_FALSE(map.remove("x"));
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.byte_size(), 0u);
  map.add(Header::kVia, "3");
  EXPECT_EQ(map.get("via"), "3");
}

TEST(HeaderMap, AppendJoinsWithTheDelimiterOrAdds) {
  HeaderMap map;
  map.append(Header::kForwardedFor, "10.0.0.1");
  map.append(Header::kForwardedFor, "10.0.0.2");
  map.append("x-list", "a");
  map.append("x-list", "b", "; ");
  EXPECT_EQ(dump(map), "x-forwarded-for=10.0.0.1,10.0.0.2;x-list=a; b;");
  EXPECT_EQ(map.byte_size(), 15u + 17 + 6 + 4);
}

TEST(HeaderMap, CopiesOwnTheirBytes) {
  HeaderMap copy;
  {
    HeaderMap map;
    base::Buffer buffer;
    buffer.append("x-viewed: value");
    map.hold(buffer.front_block());
    map.add_view(buffer.front().substr(0, 8), buffer.front().substr(10));
    map.add(Header::kMethod, "GET");
    map.add("x-gone", "1");
    map.remove("x-gone");
    copy.copy_from(map);
  }
  EXPECT_EQ(dump(copy), "x-viewed=value;:method=GET;");
  EXPECT_EQ(copy.get(Header::kMethod), "GET");
}

TEST(HeaderMap, HeldBlockOutlivesItsBuffer) {
  const size_t before = base::block_usage().live_bytes;
  HeaderMap map;
  {
    base::Buffer buffer;
    buffer.append("bytes");
    map.hold(buffer.front_block());
    map.add_view("x", buffer.front());
  }
  EXPECT_EQ(map.get("x"), "bytes");
  EXPECT_GT(base::block_usage().live_bytes, before);
  map.clear();
  EXPECT_EQ(base::block_usage().live_bytes, before);
}

TEST(HeaderMap, ReusesItsArenaWithoutNewBlocks) {
  HeaderMap map;
  map.add("x-name", "value");
  const char* first = map.get("x-name").data();
  const size_t live = base::block_usage().live_bytes;
  for (int i = 0; i < 100; ++i) {
    map.clear();
    map.add("x-name", "other");
    EXPECT_EQ(map.get("x-name").data(), first);
  }
  EXPECT_EQ(base::block_usage().live_bytes, live);
}

TEST(HeaderMap, KeepsLongAndManyValuesApart) {
  HeaderMap map;
  for (int i = 0; i < 300; ++i) {
    map.add("x-" + std::to_string(i), std::string(static_cast<size_t>(i) * 10, static_cast<char>('a' + i % 26)));
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(map.get("x-" + std::to_string(i)),
              std::string(static_cast<size_t>(i) * 10, static_cast<char>('a' + i % 26)));
  }
}

TEST(HeaderSyntax, NamesAreTokensAndValuesHoldNoControls) {
  EXPECT_TRUE(valid_name("x-a_b.c!#$%&'*+^`|~9"));
  for (std::string_view bad : {"", "a b", "a:", "a\t", "a\x80", "a\"", "(a)", "a/b"})
    EXPECT_FALSE(valid_name(bad)) << bad;
  EXPECT_TRUE(valid_value("a \t\x80\xff~"));
  EXPECT_TRUE(valid_value(""));
  for (char c : {'\r', '\n', '\0', '\x01', '\x7f', '\x1f'}) EXPECT_FALSE(valid_value(std::string("a") + c)) << int{c};
}

TEST(HeaderSyntax, ListTokensMatchWholeAndInAnyCase) {
  EXPECT_TRUE(list_has_token("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(list_has_token(" ,\tclose\t,", "Close"));
  EXPECT_FALSE(list_has_token("closed, not-close", "close"));
  EXPECT_FALSE(list_has_token("", "close"));
}

}  // namespace
}  // namespace millrace::http
