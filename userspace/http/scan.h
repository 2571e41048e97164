// Byte scans of the HTTP/1 codec, 16 bytes at a time where SSE2 is at hand (every x86-64), by table elsewhere. They
// read nothing outside [p, end). Pure functions, any thread.
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "http/chars.h"

namespace millrace::http::scan {

// First byte that a field value may not hold (a control other than HTAB, DEL), or end.
inline const char* value_end(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i no_tab = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), control);
    const __m128i stop = _mm_or_si128(no_tab, _mm_cmpeq_epi8(bytes, del));
    const int mask = _mm_movemask_epi8(stop);
    if (mask != 0) return p + __builtin_ctz(static_cast<unsigned>(mask));
  }
#endif
  while (p != end && chars::is(*p, chars::kFieldValue)) ++p;
  return p;
}

// First byte that a request target may not hold (SP, a control, DEL, '#'), or end.
inline const char* target_end(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i last_stop = _mm_set1_epi8(0x20), hash = _mm_set1_epi8('#'), del = _mm_set1_epi8(0x7f);
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_stop), bytes);
    const __m128i stop = _mm_or_si128(control, _mm_or_si128(_mm_cmpeq_epi8(bytes, hash), _mm_cmpeq_epi8(bytes, del)));
    const int mask = _mm_movemask_epi8(stop);
    if (mask != 0) return p + __builtin_ctz(static_cast<unsigned>(mask));
  }
#endif
  while (p != end && chars::is(*p, chars::kTarget)) ++p;
  return p;
}

inline constexpr size_t kFoldedMax = 64;

// The size of the field name at p, which `folded` (kFoldedMax bytes) gets in lower case. 0: it is none, or an
// unusual one (long, with rare characters, near the end of the input), to be looked at byte by byte. Folding in
// place would make the loads that follow wait for the stores.
inline size_t fold_usual_name(const char* p, const char* end, char* folded) {
#if defined(__SSE2__)
  const __m128i case_bit = _mm_set1_epi8(0x20);
  for (size_t size = 0; size < kFoldedMax && end - p > 16; size += 16, p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i letter = _mm_sub_epi8(_mm_or_si128(bytes, case_bit), _mm_set1_epi8('a'));
    const __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
    const __m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    const __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
    const __m128i is_dash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    const int usual = _mm_movemask_epi8(_mm_or_si128(is_letter, _mm_or_si128(is_digit, is_dash)));
    const __m128i lower = _mm_or_si128(bytes, _mm_and_si128(is_letter, case_bit));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(folded + size), lower);
    const unsigned n = static_cast<unsigned>(__builtin_ctz(~static_cast<unsigned>(usual)));  // 16 at most
    if (n < 16) return p[n] == ':' ? size + n : 0;
  }
#else
  (void)p, (void)end, (void)folded;
#endif
  return 0;
}

// Names and values are short: overlapping words instead of calls to memcpy and memcmp.
template <class Word>
inline Word load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

inline char* copy(char* to, const char* from, size_t n) {
  if (n >= 16) {
    if (n > 256) {
      std::memcpy(to, from, n);
      return to + n;
    }
    for (size_t i = 0; i + 16 < n; i += 16) std::memcpy(to + i, from + i, 16);
    std::memcpy(to + n - 16, from + n - 16, 16);
  } else if (n >= 8) {
    const uint64_t first = load<uint64_t>(from), last = load<uint64_t>(from + n - 8);
    std::memcpy(to, &first, 8);
    std::memcpy(to + n - 8, &last, 8);
  } else if (n >= 4) {
    const uint32_t first = load<uint32_t>(from), last = load<uint32_t>(from + n - 4);
    std::memcpy(to, &first, 4);
    std::memcpy(to + n - 4, &last, 4);
  } else if (n > 0) {
    to[0] = from[0];
    to[n / 2] = from[n / 2];
    to[n - 1] = from[n - 1];
  }
  return to + n;
}

inline bool equal(const char* a, const char* b, size_t n) {
  if (n >= 8) {
    uint64_t different = load<uint64_t>(a + n - 8) ^ load<uint64_t>(b + n - 8);
    for (size_t i = 0; i + 8 < n; i += 8) different |= load<uint64_t>(a + i) ^ load<uint64_t>(b + i);
    return different == 0;
  }
  if (n >= 4) return load<uint32_t>(a) == load<uint32_t>(b) && load<uint32_t>(a + n - 4) == load<uint32_t>(b + n - 4);
  return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

}  // namespace millrace::http::scan
