#include "http/base64.h"

#include <array>

namespace millrace::http {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNone = 0xff;

constexpr std::array<uint8_t, 256> make_values() {
  std::array<uint8_t, 256> values{};
  values.fill(kNone);
  for (size_t i = 0; i < kAlphabet.size(); ++i) values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  return values;
}
constexpr std::array<uint8_t, 256> kValues = make_values();

}  // namespace

void append_base64(base::Buffer& bytes, base::Buffer& out) {
  const std::string_view in = bytes.linearize(bytes.size());
  const size_t size = (in.size() + 2) / 3 * 4;
  if (size == 0) return;
  char* to = out.reserve(size);
  for (size_t i = 0; i < in.size(); i += 3) {
    const auto at = [&](size_t k) { return i + k < in.size() ? static_cast<uint8_t>(in[i + k]) : 0u; };
    const uint32_t group = at(0) << 16 | at(1) << 8 | at(2);
    *to++ = kAlphabet[group >> 18];
    *to++ = kAlphabet[group >> 12 & 63];
    *to++ = i + 1 < in.size() ? kAlphabet[group >> 6 & 63] : '=';
    *to++ = i + 2 < in.size() ? kAlphabet[group & 63] : '=';
  }
  out.commit(size);
  bytes.clear();
}

bool Base64Decoder::digit(uint8_t c, char*& out) {
  if (c == '=') {
    if (digits_ < 2 || digits_ + padding_ >= 4) return false;
    if (digits_ + ++padding_ < 4) return true;
    // Bits that nothing was encoded into are zero.
    if ((group_ & (digits_ == 2 ? 0xfu : 0x3u)) != 0) return false;
    *out++ = static_cast<char>(group_ >> (digits_ == 2 ? 4 : 10));
    if (digits_ == 3) *out++ = static_cast<char>(group_ >> 2);
    digits_ = padding_ = 0;
    group_ = 0;
    return true;
  }
  const uint8_t value = kValues[c];
  if (value == kNone || padding_ > 0) return false;
  group_ = group_ << 6 | value;
  if (++digits_ < 4) return true;
  *out++ = static_cast<char>(group_ >> 16);
  *out++ = static_cast<char>(group_ >> 8);
  *out++ = static_cast<char>(group_);
  digits_ = 0;
  group_ = 0;
  return true;
}

bool Base64Decoder::feed(base::Buffer& text, base::Buffer& out) {
  while (!text.empty()) {
    const std::string_view piece = text.front();
    char* const to = out.reserve(piece.size() / 4 * 3 + 3);
    char* end = to;
    for (const char c : piece) {
      if (!digit(static_cast<uint8_t>(c), end)) return false;
    }
    out.commit(static_cast<size_t>(end - to));
    text.drain(piece.size());
  }
  return true;
}

bool decode_base64(std::string_view text, std::string* out) {
  Base64Decoder decoder;
  base::Buffer in, bytes;
  in.append(text);
  if (const size_t rest = text.size() % 4; rest != 0 && !text.ends_with('=')) in.append("==", 4 - rest);
  if (text.size() % 4 == 1 || !decoder.feed(in, bytes) || !decoder.complete()) return false;
  *out = bytes.to_string();
  return true;
}

}  // namespace millrace::http
