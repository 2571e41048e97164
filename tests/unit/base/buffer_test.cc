#include "base/buffer.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace millrace::base {
namespace {

TEST(Buffer, MovesSlicesWithoutCopyingThem) {
  Buffer a, b;
  a.append("hello ");
  const char* at = a.front().data();
  b.move_from(a);
  EXPECT_EQ(b.front().data(), at);
  EXPECT_TRUE(a.empty());
}

TEST(Buffer, SplitsASliceAndSharesItsBlock) {
  Buffer a, b;
  a.append("hello world");
  b.move_from(a, 6);
  EXPECT_EQ(b.to_string(), "hello ");
  EXPECT_EQ(a.to_string(), "world");
  b.append("x");  // must not overwrite the shared block
  EXPECT_EQ(a.to_string(), "world");
  EXPECT_EQ(b.to_string(), "hello x");
}

TEST(Buffer, LinearizesAcrossSlices) {
  Buffer a;
  for (const char* part : {"ab", "cd", "ef"}) {
    BlockRef block = make_block(8);
    memcpy(block->data, part, 2);
    uint8_t* start = block->data;
    a.append(std::move(block), start, start + 2);
  }
  EXPECT_EQ(a.linearize(5), "abcde");
  EXPECT_EQ(a.size(), 6u);
  EXPECT_EQ(a.to_string(), "abcdef");
}

// A model test: every operation is done on a Buffer pair and on strings, and both must agree.
TEST(Buffer, AgreesWithAStringModel) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Prng prng(seed);
    Buffer a, b;
    std::string ma, mb;
    for (int step = 0; step < 300; ++step) {
      switch (prng.below(8)) {
        case 0: {
          std::string bytes(prng.below(300), static_cast<char>('a' + prng.below(26)));
          a.append(bytes);
          ma += bytes;
          break;
        }
        case 1: {
          BlockRef block = make_block(64);
          const size_t n = prng.below(64);
          memset(block->data, 'A' + static_cast<int>(prng.below(26)), 64);
          ma.append(reinterpret_cast<char*>(block->data), n);
          uint8_t* start = block->data;
          a.append(std::move(block), start, start + n);
          break;
        }
        case 2: {
          const size_t n = prng.below(ma.size() + 1);
          b.move_from(a, n);
          mb += ma.substr(0, n);
          ma.erase(0, n);
          break;
        }
        case 3: b.move_from(a); mb += ma; ma.clear(); break;
        case 4: {
          const size_t n = prng.below(mb.size() + 1);
          b.drain(n);
          mb.erase(0, n);
          break;
        }
        case 5: {
          const size_t n = prng.below(ma.size() + 1);
          ASSERT_EQ(a.linearize(n), ma.substr(0, n)) << "seed " << seed;
          break;
        }
        case 6: {
          char* at = a.reserve(32);
          memset(at, 'r', 32);
          const size_t n = prng.below(33);
          a.commit(n);
          ma.append(n, 'r');
          break;
        }
        case 7: std::swap(ma, mb); { Buffer c(std::move(a)); a = std::move(b); b = std::move(c); } break;
      }
      ASSERT_EQ(a.to_string(), ma) << "seed " << seed << " step " << step;
      ASSERT_EQ(b.to_string(), mb) << "seed " << seed << " step " << step;
      ASSERT_EQ(a.size(), ma.size());
    }
  }
}

TEST(Buffer, GivesBlocksBack) {
  const size_t before = block_usage().live_bytes;
  {
    Buffer a, b;
    a.append(std::string(100000, 'x'));
    b.move_from(a, 50000);
    EXPECT_GT(block_usage().live_bytes, before);
  }
  EXPECT_EQ(block_usage().live_bytes, before);
}

}  // namespace
}  // namespace millrace::base
