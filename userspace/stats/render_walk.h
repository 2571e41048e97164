// What the renderers share: which statistics of a block a scrape shows.
#pragma once
#include <string>
#include <string_view>

#include "stats/render.h"

namespace millrace::stats {

// How many statistics one slice may look at, shown or not: a filter that matches nothing must not hold up the loop
// either. About a millisecond.
constexpr size_t kVisitsPerSlice = 8192;

inline bool is_gauge(Kind kind) { return kind == Kind::kGauge || kind == Kind::kGaugeNeverImport; }
inline bool is_counter(Kind kind) { return kind == Kind::kCounter || kind == Kind::kCodes; }

bool type_wanted(RenderOptions::Type type, Kind kind);
// Whether statistic `index` of the block is to be shown; the filter is not asked.
bool shown(const StatBlock& block, uint16_t index, bool used_only);
// "upstream_rq_{code}" -> "upstream_rq_".
std::string_view code_stem(std::string_view name);
// A counter's or gauge's value; a gauge whose shards are being read between two moves is never below 0.
uint64_t number(const StatBlock& block, uint16_t index);

}  // namespace millrace::stats
