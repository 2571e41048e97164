// Draws a position in proportion to its weight, in O(log n), while weights change and positions come and go at the end
// (a binary indexed tree: Fenwick 1994). One worker.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace::upstream {

class WeightTree {
 public:
  uint64_t sum() const { return sum_; }
  size_t size() const { return sums_.size(); }
  void clear() {
    sums_.clear();
    sum_ = 0;
  }

  void push_back(uint64_t weight) {
    sums_.push_back(weight);
    sum_ += weight;
    // A node holds the weights of as many positions as its lowest set bit says (counted from 1).
    const size_t node = sums_.size();
    for (size_t below = 1; below < (node & -node); below <<= 1) sums_[node - 1] += sums_[node - below - 1];
  }
  void pop_back() {  // its weight was set to 0
    sums_.pop_back();
  }
  // The weight at a position differs by this now.
  void add(size_t position, int64_t difference) {
    sum_ += static_cast<uint64_t>(difference);
    for (size_t node = position + 1; node <= sums_.size(); node += node & -node) {
      sums_[node - 1] += static_cast<uint64_t>(difference);
    }
  }

  // draw < sum().
  size_t at(uint64_t draw) const {
    size_t node = 0;
    for (size_t step = std::bit_floor(sums_.size()); step > 0; step >>= 1) {
      if (node + step <= sums_.size() && sums_[node + step - 1] <= draw) {
        node += step;
        draw -= sums_[node - 1];
      }
    }
    return node;
  }

 private:
  std::vector<uint64_t> sums_;
  uint64_t sum_ = 0;
};

}  // namespace millrace::upstream
