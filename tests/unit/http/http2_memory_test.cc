#include "http/http2_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace millrace::http {
namespace {

class Http2MemoryTest : public testing::Test {
 protected:
  void* allocate(size_t bytes) { return memory.malloc(bytes, nullptr); }
  void release(void* piece) { memory.free(piece, nullptr); }
  nghttp2_mem& memory = *http2_memory();
};

TEST_F(Http2MemoryTest, AFreePieceIsGivenOutAgain) {
  void* piece = allocate(100);
  release(piece);
  void* again = allocate(128);
  EXPECT_EQ(again, piece) << "of the same size class";
  void* other = allocate(100);
  EXPECT_NE(other, piece);
  release(again);
  release(other);
  release(nullptr);
}

TEST_F(Http2MemoryTest, PiecesAreAlignedAsThoseOfMalloc) {
  for (size_t bytes : {0, 1, 16, 33, 1'024, 1'025, 100'000}) {
    void* piece = allocate(bytes);
    ASSERT_NE(piece, nullptr) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % alignof(std::max_align_t), 0u) << bytes;
    release(piece);
  }
}

TEST_F(Http2MemoryTest, GrowingKeepsWhatIsThere) {
  std::string expected;
  char* piece = nullptr;
  for (size_t bytes : {10, 32, 40, 900, 1'024, 1'025, 5'000, 200'000}) {
    piece = static_cast<char*>(memory.realloc(piece, bytes, nullptr));
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(std::string_view(piece, expected.size()), expected) << bytes;
    std::memset(piece + expected.size(), 'a' + static_cast<int>(bytes % 26), bytes - expected.size());
    expected.assign(piece, bytes);
  }
  release(piece);
}

TEST_F(Http2MemoryTest, ZeroedMeansAlsoForAPieceThatWasUsed) {
  void* piece = allocate(64);
  std::memset(piece, 0xff, 64);
  release(piece);
  auto* zeroed = static_cast<unsigned char*>(memory.calloc(4, 16, nullptr));
  EXPECT_EQ(zeroed, piece);
  EXPECT_EQ(std::vector<unsigned char>(zeroed, zeroed + 64), std::vector<unsigned char>(64, 0));
  release(zeroed);
  EXPECT_EQ(memory.calloc(SIZE_MAX, 2, nullptr), nullptr);
}

}  // namespace
}  // namespace millrace::http
