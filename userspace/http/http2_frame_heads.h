// Finds the heads of HTTP/2 frames (RFC 9113 section 4.1) in bytes that come in any pieces. Copies a head only where it
// is cut. One file of the session's implementation, without io.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::http {

class Http2FrameHeads {
 public:
  struct Head {
    uint32_t length;
    uint8_t type, flags;
    int32_t stream;
  };

  // skip: bytes that come before the first frame.
  explicit Http2FrameHeads(uint32_t skip) : skip_(skip) {}

  // The next head that ends in [at, end): where in these bytes it begins (at their begin, if it began before them).
  // `at` moves on behind it. Null: there is none.
  const uint8_t* next(const uint8_t*& at, const uint8_t* end, Head& to) {
    while (at < end) {
      if (skip_ > 0) {
        const size_t n = std::min<size_t>(skip_, static_cast<size_t>(end - at));
        at += n;
        skip_ -= static_cast<uint32_t>(n);
        continue;
      }
      const uint8_t* const begin = at;
      const size_t n = std::min(kBytes - have_, static_cast<size_t>(end - at));
      at += n;
      if (n < kBytes) {
        std::copy_n(begin, n, cut_.data() + have_);
        have_ += n;
        if (have_ < kBytes) return nullptr;
        have_ = 0;
      }
      parse(n < kBytes ? cut_.data() : begin, to);
      skip_ = to.length;
      return begin;
    }
    return nullptr;
  }

 private:
  static constexpr size_t kBytes = 9;

  static void parse(const uint8_t* p, Head& to) {
    to.length = uint32_t{p[0]} << 16 | uint32_t{p[1]} << 8 | p[2];
    to.type = p[3];
    to.flags = p[4];
    to.stream = static_cast<int32_t>((uint32_t{p[5]} << 24 | uint32_t{p[6]} << 16 | uint32_t{p[7]} << 8 | p[8]) &
                                     0x7fffffffu);
  }

  uint32_t skip_;   // of the frame that is passing
  size_t have_ = 0;  // bytes of a head that is cut
  std::array<uint8_t, kBytes> cut_;
};

}  // namespace millrace::http
