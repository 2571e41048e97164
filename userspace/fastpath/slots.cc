#include "fastpath/slots.h"

#include <iterator>

#include "fastpath/wire.h"

namespace millrace::fastpath {

namespace {

constexpr uint32_t kAlways = 0xffffffff;

// A random number of 32 bits is not above this with the given probability.
uint32_t share_of(double probability) {
  const double scaled = probability * 4294967296.0 - 1;
  if (scaled <= 0) return 0;
  return scaled >= kAlways ? kAlways : static_cast<uint32_t>(scaled);
}

}  // namespace

std::vector<fp_slot> make_slots(std::span<const Endpoint> endpoints, uint8_t proto, uint32_t generation) {
  std::vector<const Endpoint*> used;
  double total = 0;
  for (const Endpoint& endpoint : endpoints) {
    if (endpoint.weight == 0) continue;
    used.push_back(&endpoint);
    total += endpoint.weight;
  }
  const size_t count = used.size();
  std::vector<double> load(count);  // of a slot, 1 is full
  std::vector<size_t> scarce, ample;
  for (size_t i = 0; i < count; ++i) {
    load[i] = used[i]->weight * static_cast<double>(count) / total;
    (load[i] < 1 ? scarce : ample).push_back(i);
  }
  std::vector<fp_slot> slots(count);
  for (size_t i = 0; i < count; ++i) {
    slots[i].first = slots[i].second = wire_endpoint(used[i]->address, proto);
    slots[i].first_share = kAlways;
    slots[i].generation = generation;
  }
  while (!scarce.empty() && !ample.empty()) {
    const size_t low = scarce.back(), high = ample.back();
    scarce.pop_back();
    slots[low].first_share = share_of(load[low]);
    slots[low].second = slots[high].first;
    load[high] -= 1 - load[low];
    if (load[high] < 1) {
      ample.pop_back();
      scarce.push_back(high);
    }
  }
  return slots;
}

std::optional<uint32_t> SlotRanges::take(uint32_t count) {
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < count) continue;
    const auto [first, size] = *it;
    free_.erase(it);
    if (size > count) free_.emplace(first + count, size - count);
    return first;
  }
  return std::nullopt;
}

bool SlotRanges::claim(uint32_t first, uint32_t count) {
  auto it = free_.upper_bound(first);
  if (it == free_.begin()) return false;
  --it;
  const auto [start, size] = *it;
  if (first + uint64_t{count} > start + uint64_t{size}) return false;
  free_.erase(it);
  if (first > start) free_.emplace(start, first - start);
  if (first + count < start + size) free_.emplace(first + count, start + size - first - count);
  return true;
}

void SlotRanges::give_back(uint32_t first, uint32_t count) {
  if (count > 0) resting_.emplace_back(first, count);
}

void SlotRanges::settle() {
  for (const auto& [first, count] : resting_) insert(first, count);
  resting_.clear();
}

void SlotRanges::insert(uint32_t first, uint32_t count) {
  auto next = free_.lower_bound(first);
  if (next != free_.end() && next->first == first + count) {
    count += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == first) {
      previous->second += count;
      return;
    }
  }
  free_.emplace(first, count);
}

uint32_t SlotRanges::free_slots() const {
  uint32_t sum = 0;
  for (const auto& [first, count] : free_) sum += count;
  for (const auto& [first, count] : resting_) sum += count;
  return sum;
}

}  // namespace millrace::fastpath
