#include "stats/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::stats {
namespace {

double power_of_ten(int exponent) {
  double power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

// The bound from which on a bin counts as below it: its upper end, or its one value where it holds a single integer.
// (Envoy takes 1 to be more than le="1", since its bin ends at 1.1; we do not.)
double bin_last(uint16_t bin) { return bin < 100 ? bin_lower(bin) : bin_lower(bin) + bin_width(bin); }

}  // namespace

double bin_lower(uint16_t bin) {
  if (bin < 100) return bin;
  const int decade = (bin - 100) / 90 + 1;
  return ((bin - 100) % 90 + 10) * power_of_ten(decade);
}

double bin_width(uint16_t bin) {
  if (bin == 0) return 0;
  if (bin < 10) return 0.1;  // two digits: 1.0 up to 1.1
  if (bin < 100) return 1;
  return power_of_ten((bin - 100) / 90 + 1);
}

void Histogram::add(uint16_t bin, uint64_t count) {
  if (count == 0) return;
  count_ += count;
  const auto at = std::lower_bound(bins_.begin(), bins_.end(), bin, [](const Bin& b, uint16_t v) { return b.bin < v; });
  if (at != bins_.end() && at->bin == bin) {
    at->count += count;
  } else {
    bins_.insert(at, Bin{bin, count});
  }
}

Histogram Histogram::since(const Histogram& earlier) const {
  Histogram result;
  auto before = earlier.bins_.begin();
  for (const Bin& now : bins_) {
    while (before != earlier.bins_.end() && before->bin < now.bin) ++before;
    const uint64_t base = before != earlier.bins_.end() && before->bin == now.bin ? before->count : 0;
    if (now.count > base) result.add(now.bin, now.count - base);
  }
  result.sum_ = sum_ > earlier.sum_ ? sum_ - earlier.sum_ : 0;
  return result;
}

std::vector<double> Histogram::quantiles(std::span<const double> quantiles) const {
  std::vector<double> result(quantiles.size(), std::numeric_limits<double>::quiet_NaN());
  if (bins_.empty()) return result;
  size_t at = 0;
  double below = 0;
  double upto = static_cast<double>(bins_[0].count);
  for (size_t i = 0; i < quantiles.size(); ++i) {
    const double rank = quantiles[i] * static_cast<double>(count_);
    while (upto < rank && at + 1 < bins_.size()) {
      below = upto;
      upto += static_cast<double>(bins_[++at].count);
    }
    const double part = std::clamp((rank - below) / (upto - below), 0.0, 1.0);
    result[i] = bin_lower(bins_[at].bin) + part * bin_width(bins_[at].bin);
  }
  return result;
}

std::vector<uint64_t> Histogram::counts_below(std::span<const double> bounds) const {
  std::vector<uint64_t> result;
  result.reserve(bounds.size());
  uint64_t total = 0;
  auto bin = bins_.begin();
  for (const double bound : bounds) {
    while (bin != bins_.end() && bin_last(bin->bin) <= bound) total += (bin++)->count;
    result.push_back(total);
  }
  return result;
}

}  // namespace millrace::stats
