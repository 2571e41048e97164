#include "route/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace millrace::route {
namespace {

struct Word {
  std::string_view text;
  uint32_t bit;
};
constexpr std::array kWords = {
    Word{"5xx", retry_on::k5xx},
    Word{"gateway-error", retry_on::kGatewayError},
    Word{"reset", retry_on::kReset},
    Word{"reset-before-request", retry_on::kResetBeforeRequest},
    Word{"connect-failure", retry_on::kConnectFailure},
    Word{"envoy-ratelimited", retry_on::kEnvoyRateLimited},
    Word{"retriable-4xx", retry_on::kRetriable4xx},
    Word{"refused-stream", retry_on::kRefusedStream},
    Word{"retriable-status-codes", retry_on::kRetriableStatusCodes},
    Word{"retriable-headers", retry_on::kRetriableHeaders},
    Word{"http3-post-connect-failure", retry_on::kHttp3PostConnectFailure},
    Word{"cancelled", retry_on::kGrpcCancelled},
    Word{"deadline-exceeded", retry_on::kGrpcDeadlineExceeded},
    Word{"internal", retry_on::kGrpcInternal},
    Word{"resource-exhausted", retry_on::kGrpcResourceExhausted},
    Word{"unavailable", retry_on::kGrpcUnavailable},
};

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
    }
  }
  return row.back();
}

std::string_view nearest_word(std::string_view text) {
  return std::min_element(kWords.begin(), kWords.end(), [&](const Word& a, const Word& b) {
           return edit_distance(text, a.text) < edit_distance(text, b.text);
         })->text;
}

// Calls f(word) for every non-empty element of the list, without the space around it.
template <class F>
void for_each_word(std::string_view text, F&& f) {
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const size_t first = word.find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    f(word.substr(first, word.find_last_not_of(" \t") - first + 1));
  }
}

uint32_t bit_of(std::string_view word) {
  for (const Word& known : kWords) if (known.text == word) return known.bit;
  return 0;
}

}  // namespace

base::Result<uint32_t> parse_retry_on(std::string_view text) {
  uint32_t bits = 0;
  std::string_view unknown;
  for_each_word(text, [&](std::string_view word) {
    const uint32_t bit = bit_of(word);
    if (bit == 0 && unknown.empty()) unknown = word;
    bits |= bit;
  });
  if (unknown.empty()) return bits;
  return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0,
                     fmt::format("unknown retry condition \"{}\", did you mean \"{}\"?", unknown,
                                 nearest_word(unknown))};
}

uint32_t parse_retry_on_leniently(std::string_view text) {
  uint32_t bits = 0;
  for_each_word(text, [&](std::string_view word) { bits |= bit_of(word); });
  return bits;
}

}  // namespace millrace::route
