// A service's endpoints as slots of the map that connect programs read, and the ranges of that map. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fp_steering.h"
#include "net/address.h"

namespace millrace::fastpath {

struct Endpoint {
  net::Address address;
  uint32_t weight = 1;  // 0: gets nothing
};

// Walker's alias method in Vose's form: as many slots as there are endpoints with a weight, each drawn equally often,
// each shared by at most two endpoints, so that an endpoint is chosen in proportion to its weight whatever the weights.
std::vector<fp_slot> make_slots(std::span<const Endpoint> endpoints, uint8_t proto, uint32_t generation);

// Free ranges of the slots. A range that was given back may still be read by a program that has just looked up its
// service: it is handed out again only after settle(), which the owner calls when a grace period has passed.
class SlotRanges {
 public:
  explicit SlotRanges(uint32_t slots) { free_.emplace(0, slots); }

  std::optional<uint32_t> take(uint32_t count);
  // Takes the very range, found in use at start; false if it is not free.
  bool claim(uint32_t first, uint32_t count);
  void give_back(uint32_t first, uint32_t count);
  bool unsettled() const { return !resting_.empty(); }
  void settle();
  uint32_t free_slots() const;  // those that rest included

 private:
  void insert(uint32_t first, uint32_t count);
  std::map<uint32_t, uint32_t> free_;  // first -> count, never touching each other
  std::vector<std::pair<uint32_t, uint32_t>> resting_;
};

}  // namespace millrace::fastpath
