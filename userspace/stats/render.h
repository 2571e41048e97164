// Scrapes: the whole Store as text, JSON (/stats) or Prometheus exposition (/stats/prometheus), a bounded slice at a
// time, so that 100,000 statistics do not hold up the loop that serves them. A renderer keeps alive the blocks it found
// when it was made and reads their values as it passes them. One thread, any.
//
// Text and JSON come in Envoy's order: text readouts, then counters and gauges by name, then histograms. Names are in
// order within a block and blocks by prefix, so a block whose prefix extends another's ("cluster.a.http1." after
// "cluster.a.") follows it as a whole. Prometheus lines are grouped by metric: counters, gauges, text readouts,
// histograms. Cumulative values are of now; a histogram's interval is the one that the last flush closed.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "stats/stats.h"

namespace millrace::stats {

struct RenderOptions {
  enum class Type : uint8_t { kAll, kCounters, kGauges, kHistograms, kTextReadouts };
  enum class Buckets : uint8_t { kNone, kCumulative, kDisjoint, kDetailed };

  bool used_only = false;
  bool text_readouts = false;  // Prometheus: text readouts as gauges with a text_value label
  bool summaries = false;      // Prometheus: histograms as summaries of the last interval, as Envoy's are
  Type type = Type::kAll;
  Buckets buckets = Buckets::kNone;                    // text, JSON: buckets instead of quantiles
  std::function<bool(std::string_view name)> filter;  // full names; empty: all
  std::vector<Tag> fixed_tags;                         // Prometheus: on every line
  std::span<const double> bounds = kBuckets;           // of the buckets; must outlive the renderer
};

class Renderer {
 public:
  virtual ~Renderer() = default;
  // Appends about `budget` bytes (at most one block's worth more; fewer where little is shown). False: that was all.
  virtual bool next(base::Buffer& out, size_t budget) = 0;
};

std::unique_ptr<Renderer> render_text(const Store& store, RenderOptions options);
std::unique_ptr<Renderer> render_json(const Store& store, RenderOptions options);
std::unique_ptr<Renderer> render_prometheus(const Store& store, RenderOptions options);

}  // namespace millrace::stats
