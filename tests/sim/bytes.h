// Byte streams that can be checked at every byte: 16 bytes say who writes and how much, the rest follows from
// that. A byte lost, doubled, moved or of another stream does not match.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace millrace::sim {

// n bytes of stream `id` from `offset` on.
inline std::string pattern(uint64_t id, uint64_t offset, size_t n) {
  std::string bytes(n, '\0');
  uint64_t word = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint64_t at = offset + i;
    if (i == 0 || at % 8 == 0) {
      word = (id * 0x9e3779b97f4a7c15ull) ^ ((at / 8 + 1) * 0xbf58476d1ce4e5b9ull);
      word ^= word >> 29;
      word *= 0x94d049bb133111ebull;
      word ^= word >> 32;
    }
    bytes[i] = static_cast<char>(word >> (at % 8 * 8));
  }
  return bytes;
}

class Outgoing {
 public:
  Outgoing(uint64_t id, uint64_t body_bytes) : id_(id), total_(kHead + body_bytes) {}
  // At most n more bytes.
  std::string next(size_t n) {
    std::string bytes;
    if (sent_ < kHead) {
      char head[kHead];
      std::memcpy(head, &id_, 8);
      std::memcpy(head + 8, &total_, 8);
      bytes.assign(head + sent_, std::min<size_t>(n, kHead - sent_));
    }
    const size_t rest = static_cast<size_t>(std::min<uint64_t>(n - bytes.size(), total_ - sent_ - bytes.size()));
    if (rest > 0) bytes += pattern(id_, sent_ + bytes.size(), rest);
    sent_ += bytes.size();
    return bytes;
  }
  uint64_t id() const { return id_; }
  uint64_t total() const { return total_; }
  uint64_t sent() const { return sent_; }
  bool done() const { return sent_ == total_; }

 private:
  static constexpr size_t kHead = 16;
  uint64_t id_, total_, sent_ = 0;
};

class Incoming {
 public:
  // False: these are not the bytes that come next.
  bool take(std::string_view bytes) {
    while (received_ < kHead && !bytes.empty()) {
      head_[received_++] = bytes.front();
      bytes.remove_prefix(1);
      if (received_ == kHead) {
        std::memcpy(&id_, head_, 8);
        std::memcpy(&total_, head_ + 8, 8);
      }
    }
    if (bytes.empty()) return true;
    const bool right = received_ + bytes.size() <= total_ && bytes == pattern(id_, received_, bytes.size());
    received_ += bytes.size();
    return right;
  }
  bool known() const { return received_ >= kHead; }
  uint64_t id() const { return id_; }
  uint64_t received() const { return received_; }
  bool complete() const { return known() && received_ == total_; }

 private:
  static constexpr size_t kHead = 16;
  char head_[kHead];
  uint64_t id_ = 0, total_ = 0, received_ = 0;
};

}  // namespace millrace::sim
