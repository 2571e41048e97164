// The text exposition format 0.0.4: a TYPE line and all the samples of one metric, then the next metric.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "stats/render.h"
#include "stats/render_walk.h"

namespace millrace::stats {
namespace {

// Metric and label names: [a-zA-Z0-9_], Envoy's way.
std::string sanitised(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!fine) c = '_';
  }
  return result;
}

void append_label(std::string& labels, std::string_view name, std::string_view value) {
  if (!labels.empty()) labels += ',';
  labels += sanitised(name);
  labels += "=\"";
  for (const char c : value) {
    if (c == '\n') {
      labels += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') labels += '\\';
    labels += c;
  }
  labels += '"';
}

// What tag extraction makes of a statistic's own name: "upstream_rq_2xx" is the metric upstream_rq_xx with
// envoy_response_code_class="2", "upstream_rq_{code}" the metric upstream_rq with envoy_response_code.
struct Extracted {
  std::string name;
  std::string label;  // with its value; empty for most
};

Extracted extract(const StatDescriptor& stat) {
  std::string_view name = stat.name;
  if (stat.kind == Kind::kCodes) {
    name = code_stem(name);
    if (name.ends_with('_')) name.remove_suffix(1);
    return {std::string(name), {}};
  }
  constexpr std::string_view kTail = "_rq_Nxx";
  if (name.size() >= kTail.size() && name.ends_with("xx")) {
    const std::string_view tail = name.substr(name.size() - kTail.size());
    const char digit = tail[4];
    if (tail.starts_with("_rq_") && digit >= '0' && digit <= '9') {
      std::string label;
      append_label(label, "envoy.response_code_class", std::string_view(&digit, 1));
      return {std::string(name.substr(0, name.size() - 3)) + "xx", std::move(label)};
    }
  }
  return {std::string(name), {}};
}

enum class MetricType : uint8_t { kCounter, kGauge, kText, kHistogram };

MetricType metric_type(Kind kind) {
  if (is_counter(kind)) return MetricType::kCounter;
  if (is_gauge(kind)) return MetricType::kGauge;
  return kind == Kind::kTextReadout ? MetricType::kText : MetricType::kHistogram;
}

std::string_view type_word(MetricType type, bool summaries) {
  switch (type) {
    case MetricType::kCounter: return "counter";
    case MetricType::kGauge:
    case MetricType::kText: return "gauge";
    case MetricType::kHistogram: return summaries ? "summary" : "histogram";
  }
  return "untyped";
}

class PrometheusWalk final : public Renderer {
 public:
  PrometheusWalk(const Store& store, RenderOptions options) : options_(std::move(options)) {
    std::map<std::pair<const Schema*, std::string>, size_t> known;
    for (StatBlockPtr& block : store.blocks()) {
      const auto [at, fresh] = known.try_emplace({&block->schema(), std::string(block->tag_extracted_prefix())},
                                                 families_.size());
      if (fresh) families_.push_back({&block->schema(), at->first.second, {}, {}});
      families_[at->second].blocks.push_back(std::move(block));
    }
    for (size_t f = 0; f < families_.size(); ++f) {
      families_[f].labels.resize(families_[f].blocks.size());
      add_metrics(f);
    }
    metric_ = metrics_.begin();
  }

  bool next(base::Buffer& out, size_t budget) override {
    text_.clear();
    size_t visits = 0;
    while (metric_ != metrics_.end() && text_.size() < budget && visits++ < kVisitsPerSlice) {
      const std::vector<Series>& series = metric_->second;
      if (series_ < series.size()) {
        Family& family = families_[series[series_].family];
        if (block_ < family.blocks.size()) {
          sample(family, series[series_]);
          ++block_;
          continue;
        }
        block_ = 0;
        ++series_;
        continue;
      }
      if (typed_) text_ += '\n';
      typed_ = false;
      series_ = 0;
      ++metric_;
    }
    out.append(text_);
    return metric_ != metrics_.end();
  }

 private:
  // The blocks of one schema and tag-extracted prefix: those that share their metrics.
  struct Family {
    const Schema* schema;
    std::string prefix;
    std::vector<StatBlockPtr> blocks;
    std::vector<std::string> labels;  // [block], made when first needed
  };
  struct Series {
    size_t family;
    uint16_t index;
    std::string label;
  };
  using Metrics = std::map<std::pair<MetricType, std::string>, std::vector<Series>>;

  void add_metrics(size_t f) {
    const Family& family = families_[f];
    for (uint16_t i = 0; i < family.schema->stats.size(); ++i) {
      const StatDescriptor& stat = family.schema->stats[i];
      if (!type_wanted(options_.type, stat.kind)) continue;
      if (stat.kind == Kind::kTextReadout && !options_.text_readouts) continue;
      Extracted extracted = extract(stat);
      metrics_[{metric_type(stat.kind), "envoy_" + sanitised(family.prefix + extracted.name)}].push_back(
          {f, i, std::move(extracted.label)});
    }
  }

  const std::string& block_labels(Family& family) const {
    std::string& labels = family.labels[block_];
    if (labels.empty()) {
      for (const Tag& tag : family.blocks[block_]->tags()) append_label(labels, tag.name, tag.value);
      for (const Tag& tag : options_.fixed_tags) append_label(labels, tag.name, tag.value);
    }
    return labels;
  }

  void sample(Family& family, const Series& series) {
    const StatBlock& block = *family.blocks[block_];
    const StatDescriptor& stat = family.schema->stats[series.index];
    if (!shown(block, series.index, options_.used_only)) return;
    if (stat.kind == Kind::kCodes) {
      sample_codes(family, series, block);
      return;
    }
    if (!wanted(block, stat.name)) return;
    std::string labels = series.label;
    join(labels, block_labels(family));
    if (stat.kind == Kind::kHistogram && options_.summaries) {
      sample_summary(labels, block.histogram_interval(series.index));
    } else if (stat.kind == Kind::kHistogram) {
      sample_histogram(labels, block.histogram(series.index));
    } else if (stat.kind == Kind::kTextReadout) {
      append_label(labels, "text_value", block.text(series.index));
      line("", labels, 0);
    } else {
      line("", labels, number(block, series.index));
    }
  }

  void sample_codes(Family& family, const Series& series, const StatBlock& block) {
    const std::string_view stem = code_stem(family.schema->stats[series.index].name);
    for (const auto& [code, count] : block.codes(series.index)) {
      const std::string digits = std::to_string(code);
      if (options_.filter && !wanted(block, std::string(stem) + digits)) continue;
      std::string labels;
      append_label(labels, "envoy.response_code", digits);
      join(labels, block_labels(family));
      line("", labels, count);
    }
  }

  void sample_histogram(const std::string& labels, const Histogram& histogram) {
    std::string bucket = labels;
    if (!bucket.empty()) bucket += ',';
    const std::vector<uint64_t> below = histogram.counts_below(options_.bounds);
    for (size_t i = 0; i < below.size(); ++i)
      line("_bucket", fmt::format("{}le=\"{:.32g}\"", bucket, options_.bounds[i]), below[i]);
    line("_bucket", bucket + "le=\"+Inf\"", histogram.count());
    line("_sum", labels, histogram.sum());
    line("_count", labels, histogram.count());
  }

  void sample_summary(const std::string& labels, const Histogram& interval) {
    std::string quantile = labels;
    if (!quantile.empty()) quantile += ',';
    const std::vector<double> values = interval.quantiles(kQuantiles);
    for (size_t i = 0; i < values.size(); ++i)
      line("", fmt::format("{}quantile=\"{}\"", quantile, kQuantiles[i]), fmt::format("{:.32g}", values[i]));
    line("_sum", labels, interval.sum());
    line("_count", labels, interval.count());
  }

  bool wanted(const StatBlock& block, std::string_view name) {
    if (!options_.filter) return true;
    name_ = block.prefix();
    name_ += name;
    return options_.filter(name_);
  }

  static void join(std::string& labels, std::string_view more) {
    if (!labels.empty() && !more.empty()) labels += ',';
    labels += more;
  }

  template <class Value>
  void line(std::string_view suffix, std::string_view labels, const Value& value) {
    const auto& [type, metric] = metric_->first;
    if (!typed_)
      fmt::format_to(std::back_inserter(text_), "# TYPE {} {}\n", metric, type_word(type, options_.summaries));
    typed_ = true;
    fmt::format_to(std::back_inserter(text_), "{}{}{{{}}} {}\n", metric, suffix, labels, value);
  }

  const RenderOptions options_;
  std::vector<Family> families_;
  Metrics metrics_;
  Metrics::const_iterator metric_;
  size_t series_ = 0;  // of the metric
  size_t block_ = 0;   // of the series' family
  bool typed_ = false;  // the metric's TYPE line is written
  std::string text_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Renderer> render_prometheus(const Store& store, RenderOptions options) {
  return std::make_unique<PrometheusWalk>(store, std::move(options));
}

}  // namespace millrace::stats
