// Earliest deadline first: picks items in proportion to their weights, evenly interleaved. An item of weight w is due
// every 1/w units of virtual time. Each starts at a random phase of its period, so that many workers do not all begin
// with the same host. Items come at any time, at the cost of a push; one that has gone is dropped when it is due, so
// its owner tells them apart by a stamp of its own. One worker; a pick is one sift down a binary heap.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"

namespace millrace::upstream {

class Edf {
 public:
  struct Item {
    uint32_t id;
    uint32_t stamp;
  };

  size_t size() const { return heap_.size(); }  // with those that have gone
  void clear() { heap_.clear(); }

  void add(Item item, double weight, base::Prng& prng) {
    constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
    const double phase = static_cast<double>((prng.next() >> 11) + 1) * kUnit;
    heap_.push_back({now_ + phase / weight, item});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }

  // The id of the item that is due, which comes back after 1/weight(item). A weight of 0 or less: the item has gone.
  // At least one has not.
  template <class Weight>
  uint32_t pick(Weight&& weight) {
    while (true) {
      MILLRACE_DCHECK(!heap_.empty());
      const Item item = heap_[0].item;
      const double now = weight(item);
      if (now <= 0) {
        heap_[0] = heap_.back();
        heap_.pop_back();
        if (!heap_.empty()) sift_down();
        continue;
      }
      now_ = heap_[0].deadline;
      heap_[0].deadline += 1.0 / now;
      sift_down();
      return item.id;
    }
  }

 private:
  struct Entry {
    double deadline;
    Item item;
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
  double now_ = 0;
};

}  // namespace millrace::upstream
