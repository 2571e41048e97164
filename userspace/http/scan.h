// Byte scans of the HTTP/1 codec, 16 bytes at a time where SSE2 is at hand (every x86-64), by table elsewhere. They read
// nothing outside [p, end). Pure functions, any thread.
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "http/chars.h"

namespace millrace::http::scan {

// First byte that a field value may not hold (a control other than HTAB, DEL), or end.
inline const char* value_end(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i stop = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), control), _mm_cmpeq_epi8(bytes, del));
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

}  // namespace millrace::http::scan
