// The counters of responses that several schemas have, counted in one place: all, those of each class and, where the
// schema lists them, those of each status.
//
//   constexpr ResponseCounters kCounters = MILLRACE_RESPONSE_COUNTERS(http::kDownstreamRq);
//   -> http::kDownstreamRqCompleted, http::kDownstreamRq1xx ... http::kDownstreamRq5xx
#pragma once
#include <array>
#include <cstdint>

#include "stats/stats.h"

#define MILLRACE_RESPONSE_COUNTERS(prefix) \
  { prefix##Completed, { prefix##1xx, prefix##2xx, prefix##3xx, prefix##4xx, prefix##5xx } }

namespace millrace::stats {

struct ResponseCounters {
  uint16_t completed;
  std::array<uint16_t, 5> by_class;
};

// A status outside of 100 to 599 has no class.
inline void count_response(StatShard& shard, const ResponseCounters& counters, unsigned status) {
  shard.inc(counters.completed);
  if (status >= 100 && status <= 599) shard.inc(counters.by_class[status / 100 - 1]);
}
// codes: the statistic of Kind::kCodes.
inline void count_response(StatShard& shard, const ResponseCounters& counters, uint16_t codes, unsigned status) {
  count_response(shard, counters, status);
  shard.inc_code(codes, static_cast<uint16_t>(status));
}

}  // namespace millrace::stats
