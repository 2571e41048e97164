#include "stats/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <iterator>
#include <unordered_map>

#include "stats/render_walk.h"

namespace millrace::stats {

bool type_wanted(RenderOptions::Type type, Kind kind) {
  switch (type) {
    case RenderOptions::Type::kAll: return true;
    case RenderOptions::Type::kCounters: return is_counter(kind);
    case RenderOptions::Type::kGauges: return is_gauge(kind);
    case RenderOptions::Type::kHistograms: return kind == Kind::kHistogram;
    case RenderOptions::Type::kTextReadouts: return kind == Kind::kTextReadout;
  }
  return false;
}

bool shown(const StatBlock& block, uint16_t index, bool used_only) {
  return (!used_only && block.schema().stats[index].show == Show::kAlways) || block.used(index);
}

std::string_view code_stem(std::string_view name) { return name.substr(0, name.find('{')); }

uint64_t number(const StatBlock& block, uint16_t index) {
  if (!is_gauge(block.schema().stats[index].kind)) return block.counter(index);
  return static_cast<uint64_t>(std::max<int64_t>(block.gauge(index), 0));
}

namespace {

enum class Phase : uint8_t { kTextReadouts, kNumbers, kHistograms, kDone };

Phase phase_of(Kind kind) {
  if (kind == Kind::kTextReadout) return Phase::kTextReadouts;
  return kind == Kind::kHistogram ? Phase::kHistograms : Phase::kNumbers;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

// The counts of two histograms by bucket: cumulative, or each bucket alone.
struct BucketCounts {
  BucketCounts(const Histogram& histogram, const RenderOptions& options)
      : counts(histogram.counts_below(options.bounds)) {
    if (options.buckets != RenderOptions::Buckets::kDisjoint) return;
    for (size_t i = counts.size(); i-- > 1;) counts[i] -= counts[i - 1];
  }
  std::vector<uint64_t> counts;
};

// Walks phases, blocks and statistics; a format says what one of them looks like.
class Walk : public Renderer {
 public:
  Walk(const Store& store, RenderOptions options) : options_(std::move(options)), blocks_(store.blocks()) {}

  bool next(base::Buffer& out, size_t budget) final {
    text_.clear();
    if (!begun_) {
      begin(text_);
      begun_ = true;
    }
    size_t visits = 0;
    while (phase_ != Phase::kDone && text_.size() < budget && visits < kVisitsPerSlice) {
      if (block_ < blocks_.size()) {
        visits += blocks_[block_]->schema().stats.size();
        walk(*blocks_[block_++]);
      }
      if (block_ < blocks_.size()) continue;
      block_ = 0;
      phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
      if (phase_ == Phase::kDone) end(text_);
    }
    out.append(text_);
    return phase_ != Phase::kDone;
  }

 protected:
  virtual void begin(std::string&) {}
  virtual void end(std::string&) {}
  virtual void write_number(std::string& out, std::string_view name, uint64_t value) = 0;
  virtual void write_text(std::string& out, std::string_view name, std::string_view value) = 0;
  virtual void write_histogram(std::string& out, std::string_view name, const Histogram& interval,
                               const Histogram& cumulative) = 0;
  const RenderOptions options_;

 private:
  struct Item {
    std::string_view name;  // without the block's prefix
    uint16_t index;
    uint64_t value;
  };

  const std::vector<uint16_t>& order_of(const Schema& schema) {
    std::vector<uint16_t>& order = orders_[&schema];
    if (order.empty()) {
      for (uint16_t i = 0; i < schema.stats.size(); ++i) order.push_back(i);
      std::sort(order.begin(), order.end(),
                [&schema](uint16_t a, uint16_t b) { return schema.stats[a].name < schema.stats[b].name; });
    }
    return order;
  }

  void walk(const StatBlock& block) {
    items_.clear();
    code_names_.clear();
    for (const uint16_t i : order_of(block.schema())) {
      const StatDescriptor& stat = block.schema().stats[i];
      if (phase_of(stat.kind) != phase_ || !type_wanted(options_.type, stat.kind)) continue;
      if (!shown(block, i, options_.used_only)) continue;
      if (stat.kind != Kind::kCodes) {
        items_.push_back({stat.name, i, phase_ == Phase::kNumbers ? number(block, i) : 0});
        continue;
      }
      for (const auto& [code, count] : block.codes(i)) {
        code_names_.push_back(fmt::format("{}{}", code_stem(stat.name), code));
        items_.push_back({code_names_.back(), i, count});
      }
    }
    if (!code_names_.empty())
      std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
    for (const Item& item : items_) write(block, item);
  }

  void write(const StatBlock& block, const Item& item) {
    name_ = block.prefix();
    name_ += item.name;
    if (options_.filter && !options_.filter(name_)) return;
    if (phase_ == Phase::kNumbers) {
      write_number(text_, name_, item.value);
    } else if (phase_ == Phase::kTextReadouts) {
      write_text(text_, name_, block.text(item.index));
    } else {
      write_histogram(text_, name_, block.histogram_interval(item.index), block.histogram(item.index));
    }
  }

  const std::vector<StatBlockPtr> blocks_;
  std::unordered_map<const Schema*, std::vector<uint16_t>> orders_;  // each schema's indices by name
  Phase phase_ = Phase::kTextReadouts;
  size_t block_ = 0;
  bool begun_ = false;
  std::string text_;
  std::string name_;
  std::vector<Item> items_;
  std::deque<std::string> code_names_;
};

class TextWalk final : public Walk {
 public:
  using Walk::Walk;

 private:
  void write_number(std::string& out, std::string_view name, uint64_t value) override {
    fmt::format_to(std::back_inserter(out), "{}: {}\n", name, value);
  }
  void write_text(std::string& out, std::string_view name, std::string_view value) override {
    fmt::format_to(std::back_inserter(out), "{}: \"{}\"\n", name, value);
  }
  void write_histogram(std::string& out, std::string_view name, const Histogram& interval,
                       const Histogram& cumulative) override {
    const auto to = std::back_inserter(out);
    if (cumulative.empty()) {
      fmt::format_to(to, "{}: No recorded values\n", name);
      return;
    }
    switch (options_.buckets) {
      case RenderOptions::Buckets::kNone:
        fmt::format_to(to, "{}: ", name);
        write_quantiles(out, interval, cumulative);
        break;
      case RenderOptions::Buckets::kCumulative:
      case RenderOptions::Buckets::kDisjoint: {
        fmt::format_to(to, "{}:", name);
        const BucketCounts now(interval, options_);
        const BucketCounts all(cumulative, options_);
        for (size_t i = 0; i < options_.bounds.size(); ++i)
          fmt::format_to(to, " B{:g}({},{})", options_.bounds[i], now.counts[i], all.counts[i]);
        break;
      }
      case RenderOptions::Buckets::kDetailed:
        fmt::format_to(to, "{}:\n  totals=", name);
        write_bins(out, cumulative);
        out += "\n  intervals=";
        write_bins(out, interval);
        out += "\n  summary=";
        write_quantiles(out, interval, cumulative);
        break;
    }
    out += '\n';
  }

  static void write_quantiles(std::string& out, const Histogram& interval, const Histogram& cumulative) {
    const std::vector<double> now = interval.quantiles(kQuantiles);
    const std::vector<double> all = cumulative.quantiles(kQuantiles);
    for (size_t i = 0; i < std::size(kQuantiles); ++i)
      fmt::format_to(std::back_inserter(out), "{}P{:g}({:g},{:g})", i == 0 ? "" : " ", 100 * kQuantiles[i], now[i],
                     all[i]);
  }
  static void write_bins(std::string& out, const Histogram& histogram) {
    std::string_view comma;
    for (const Histogram::Bin& bin : histogram.bins()) {
      fmt::format_to(std::back_inserter(out), "{}{:g},{:g}:{}", comma, bin_lower(bin.bin), bin_width(bin.bin),
                     bin.count);
      comma = ", ";
    }
  }
};

class JsonWalk final : public Walk {
 public:
  using Walk::Walk;

 private:
  void begin(std::string& out) override { out += R"({"stats":[)"; }
  void end(std::string& out) override {
    if (in_histograms_) out += options_.buckets == RenderOptions::Buckets::kNone ||
                                       options_.buckets == RenderOptions::Buckets::kDetailed
                                   ? "]}}"
                                   : "]}";
    out += "]}";
  }
  void comma(std::string& out) {
    if (some_) out += ',';
    some_ = true;
  }
  void write_number(std::string& out, std::string_view name, uint64_t value) override {
    comma(out);
    out += R"({"name":)";
    append_json_string(out, name);
    fmt::format_to(std::back_inserter(out), R"(,"value":{}}})", value);
  }
  void write_text(std::string& out, std::string_view name, std::string_view value) override {
    comma(out);
    out += R"({"name":)";
    append_json_string(out, name);
    out += R"(,"value":)";
    append_json_string(out, value);
    out += '}';
  }
  void write_histogram(std::string& out, std::string_view name, const Histogram& interval,
                       const Histogram& cumulative) override {
    comma(out);
    if (!in_histograms_) open_histograms(out);
    in_histograms_ = true;
    out += R"({"name":)";
    append_json_string(out, name);
    switch (options_.buckets) {
      case RenderOptions::Buckets::kNone: write_quantiles(out, "values", interval, cumulative); break;
      case RenderOptions::Buckets::kCumulative:
      case RenderOptions::Buckets::kDisjoint: write_buckets(out, interval, cumulative); break;
      case RenderOptions::Buckets::kDetailed:
        write_bins(out, "totals", cumulative);
        write_bins(out, "intervals", interval);
        write_quantiles(out, "percentiles", interval, cumulative);
        break;
    }
    out += '}';
  }

  void open_histograms(std::string& out) {
    const bool detailed = options_.buckets == RenderOptions::Buckets::kDetailed;
    if (!detailed && options_.buckets != RenderOptions::Buckets::kNone) {
      out += R"({"histograms":[)";
      return;
    }
    fmt::format_to(std::back_inserter(out), R"({{"histograms":{{"{}":[)",
                   detailed ? "supported_percentiles" : "supported_quantiles");
    for (size_t i = 0; i < std::size(kQuantiles); ++i)
      fmt::format_to(std::back_inserter(out), "{}{:g}", i == 0 ? "" : ",", 100 * kQuantiles[i]);
    fmt::format_to(std::back_inserter(out), R"(],"{}":[)", detailed ? "details" : "computed_quantiles");
  }
  static void write_real(std::string& out, double value) {
    if (std::isnan(value)) {
      out += "null";
    } else {
      fmt::format_to(std::back_inserter(out), "{}", value);
    }
  }
  static void write_quantiles(std::string& out, std::string_view key, const Histogram& interval,
                              const Histogram& cumulative) {
    const std::vector<double> now = interval.quantiles(kQuantiles);
    const std::vector<double> all = cumulative.quantiles(kQuantiles);
    fmt::format_to(std::back_inserter(out), R"(,"{}":[)", key);
    for (size_t i = 0; i < std::size(kQuantiles); ++i) {
      out += i == 0 ? R"({"cumulative":)" : R"(,{"cumulative":)";
      write_real(out, all[i]);
      out += R"(,"interval":)";
      write_real(out, now[i]);
      out += '}';
    }
    out += ']';
  }
  void write_buckets(std::string& out, const Histogram& interval, const Histogram& cumulative) const {
    const BucketCounts now(interval, options_);
    const BucketCounts all(cumulative, options_);
    out += R"(,"buckets":[)";
    for (size_t i = 0; i < options_.bounds.size(); ++i)
      fmt::format_to(std::back_inserter(out), R"({}{{"upper_bound":{},"interval":{},"cumulative":{}}})",
                     i == 0 ? "" : ",", options_.bounds[i], now.counts[i], all.counts[i]);
    out += ']';
  }
  static void write_bins(std::string& out, std::string_view key, const Histogram& histogram) {
    fmt::format_to(std::back_inserter(out), R"(,"{}":[)", key);
    std::string_view comma;
    for (const Histogram::Bin& bin : histogram.bins()) {
      fmt::format_to(std::back_inserter(out), R"({}{{"lower_bound":{},"width":{},"count":{}}})", comma,
                     bin_lower(bin.bin), bin_width(bin.bin), bin.count);
      comma = ",";
    }
    out += ']';
  }

  bool some_ = false;           // something stands before: in the array of statistics, then in that of histograms
  bool in_histograms_ = false;
};

}  // namespace

std::unique_ptr<Renderer> render_text(const Store& store, RenderOptions options) {
  return std::make_unique<TextWalk>(store, std::move(options));
}

std::unique_ptr<Renderer> render_json(const Store& store, RenderOptions options) {
  return std::make_unique<JsonWalk>(store, std::move(options));
}

}  // namespace millrace::stats
