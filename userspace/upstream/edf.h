// Earliest deadline first: picks items in proportion to their weights, evenly interleaved. An item of weight w is due
// every 1/w units of virtual time. Each starts at a random phase of its period, so that many workers, or many rebuilds
// after health changes, do not all begin with the same host. One worker; a pick is one sift down a binary heap.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"

namespace millrace::upstream {

class Edf {
 public:
  bool empty() const { return heap_.empty(); }

  void reset(std::span<const double> weights, base::Prng& prng) {
    heap_.clear();
    heap_.reserve(weights.size());
    constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
    for (uint32_t i = 0; i < weights.size(); ++i) {
      const double phase = static_cast<double>((prng.next() >> 11) + 1) * kUnit;
      heap_.push_back({phase / weights[i], i});
    }
    std::make_heap(heap_.begin(), heap_.end(), later);
  }

  // The item that is due, which comes back after 1/weight(item).
  template <class Weight>
  uint32_t pick(Weight&& weight) {
    MILLRACE_DCHECK(!heap_.empty());
    const uint32_t item = heap_[0].item;
    heap_[0].deadline += 1.0 / weight(item);
    sift_down();
    return item;
  }

 private:
  struct Entry {
    double deadline;
    uint32_t item;
  };
  static bool later(const Entry& a, const Entry& b) { return a.deadline > b.deadline; }
  void sift_down() {
    const size_t n = heap_.size();
    const Entry moving = heap_[0];
    size_t hole = 0;
    for (size_t child = 1; child < n; child = 2 * hole + 1) {
      if (child + 1 < n && heap_[child + 1].deadline < heap_[child].deadline) ++child;
      if (moving.deadline <= heap_[child].deadline) break;
      heap_[hole] = heap_[child];
      hole = child;
    }
    heap_[hole] = moving;
  }

  std::vector<Entry> heap_;
};

}  // namespace millrace::upstream
