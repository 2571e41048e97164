// What a block of statistics holds: a constant table of names and kinds, indexed by an enum. A schema is written as one
// X-macro list, so that the enum and the table cannot disagree:
//
//   #define MILLRACE_ECHO_STATS(X) X(kBytesTotal, "bytes_total", kCounter, kBytes) X(kActive, "active", kGauge, kNone)
//   namespace millrace::stats::echo { MILLRACE_STAT_SCHEMA("echo", MILLRACE_ECHO_STATS) }
//   -> stats::echo::kBytesTotal, stats::echo::kSchema
//
// Order is a layout: cells lie in the order of the list, kCellsPerChunk to a chunk, and a chunk is allocated when one
// of its cells is first written. Put what every request touches first and what almost nothing touches last.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::stats {

enum class Kind : uint8_t {
  kCounter,
  kGauge,             // the sum of the shards; adds up across a hot restart
  kGaugeNeverImport,  // like kGauge, but belongs to this process alone
  kHistogram,
  kTextReadout,
  kCodes,             // one counter for each HTTP status; the name ends in "{code}"
};

enum class Unit : uint8_t { kNone, kBytes, kMicroseconds, kMilliseconds, kSeconds };

// Whether a scrape shows a statistic that was never written; Envoy makes some of its counters when they first count.
enum class Show : uint8_t { kAlways, kOnceUsed };

struct StatDescriptor {
  std::string_view name;
  Kind kind = Kind::kCounter;
  Unit unit = Unit::kNone;
  Show show = Show::kAlways;
};

struct Schema {
  std::string_view name;  // for people; a schema is known by its address
  std::span<const StatDescriptor> stats;
};

constexpr uint16_t kCellsPerChunk = 16;
constexpr uint16_t kChunksMax = 32;
constexpr uint16_t kStatsPerSchemaMax = kCellsPerChunk * kChunksMax;

}  // namespace millrace::stats

#define MILLRACE_STAT_INDEX_(id, ...) id,
#define MILLRACE_STAT_ROW_(id, name, kind, unit, ...)                                                \
  ::millrace::stats::StatDescriptor{name, ::millrace::stats::Kind::kind, ::millrace::stats::Unit::unit \
                                    __VA_OPT__(, ::millrace::stats::Show::__VA_ARGS__)},
#define MILLRACE_STAT_SCHEMA(schema_name, list)                                           \
  enum Index : uint16_t { list(MILLRACE_STAT_INDEX_) kStatCount };                        \
  inline constexpr ::millrace::stats::StatDescriptor kStats[] = {list(MILLRACE_STAT_ROW_)}; \
  static_assert(kStatCount <= ::millrace::stats::kStatsPerSchemaMax);                     \
  inline constexpr ::millrace::stats::Schema kSchema{schema_name, kStats};
