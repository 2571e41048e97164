// A log-linear histogram of unsigned values: two significant decimal digits, the bins of libcircllhist, so that
// quantiles come out as Envoy's do. Value 0 has a bin of its own; 1..99 one each; above that 90 bins to a decade. This
// is the merged, readable form; what workers write to is a SparseCounts keyed by bin_of(value). Plain value.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace::stats {

// /stats and the quantiles of text and JSON, and the `le` bounds of Prometheus' buckets.
inline constexpr double kQuantiles[] = {0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1};
inline constexpr double kBuckets[] = {0.5,   1,    5,    10,    25,    50,    100,    250,    500,    1000,
                                      2500,  5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

constexpr uint16_t bin_of(uint64_t value) {
  uint16_t decade = 0;  // value is 10..99 times 10^decade
  while (value >= 100) {
    value /= 10;
    ++decade;
  }
  return static_cast<uint16_t>(decade == 0 ? value : 100 + (decade - 1) * 90 + (value - 10));
}
double bin_lower(uint16_t bin);
double bin_width(uint16_t bin);

class Histogram {
 public:
  struct Bin {
    uint16_t bin;
    uint64_t count;
    bool operator==(const Bin&) const = default;
  };

  void add(uint16_t bin, uint64_t count);
  void add_sum(uint64_t sum) { sum_ += sum; }
  void record(uint64_t value) { add(bin_of(value), 1); add_sum(value); }
  // What was recorded since `earlier`, a former state of this histogram.
  Histogram since(const Histogram& earlier) const;

  bool empty() const { return count_ == 0; }
  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }  // exact
  std::span<const Bin> bins() const { return bins_; }  // ascending
  // One value for each of `quantiles` (ascending, 0..1), interpolated inside its bin; NaN when nothing was recorded.
  std::vector<double> quantiles(std::span<const double> quantiles) const;
  // How many values lie in bins wholly at or below each of `bounds` (ascending).
  std::vector<uint64_t> counts_below(std::span<const double> bounds) const;
  size_t memory_bytes() const { return bins_.capacity() * sizeof(Bin); }
  void shrink() { bins_.shrink_to_fit(); }

 private:
  std::vector<Bin> bins_;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace millrace::stats
