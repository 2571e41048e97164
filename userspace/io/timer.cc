#include "io/timer.h"

#include <algorithm>
#include <bit>

namespace millrace::io {

void Timer::arm(base::milliseconds after) {
  // One tick more: the wheel's clock reading may be up to a tick old, and a timer never fires early.
  deadline_ms_ = wheel_.tick_of(wheel_.now_) + static_cast<uint64_t>(std::max<int64_t>(after.count(), 0)) + 1;
  if (base::ListHook<Timer>::linked()) {
    if (slot_ms_ <= deadline_ms_) return;  // found and moved when the old slot comes up
    base::ListHook<Timer>::unlink();
  }
  wheel_.link(*this);
}

void TimerWheel::link(Timer& timer) {
  const uint64_t deadline = std::max(timer.deadline_ms_, tick_ + 1);
  const uint64_t limit = tick_ + (1ull << (kSlotBits * kLevels)) - (1ull << (kSlotBits * (kLevels - 1)));
  const uint64_t at = std::min(deadline, limit);
  // The level of the highest bit in which the deadline differs from now.
  const int level = (63 - std::countl_zero(at ^ tick_)) / kSlotBits;
  const int clamped = std::min(level, kLevels - 1);
  const uint64_t slot = (at >> (clamped * kSlotBits)) & (kSlots - 1);
  slots_[clamped][slot].push_back(timer);
  occupied_[clamped] |= 1ull << slot;
  timer.slot_ms_ = at;
}

void TimerWheel::collect(uint64_t to, Slot& due) {
  // For each level: every slot whose turn came in (tick_, to]. A whole turn or more empties the level.
  for (int level = 0; level < kLevels; ++level) {
    const int shift = level * kSlotBits;
    const uint64_t from_slot = tick_ >> shift;
    const uint64_t to_slot = to >> shift;
    if (from_slot == to_slot) break;
    uint64_t mask = ~0ull;
    if (to_slot - from_slot < kSlots) {
      const uint64_t count = to_slot - from_slot;
      mask = std::rotl((1ull << count) - 1, static_cast<int>((from_slot + 1) & (kSlots - 1)));
    }
    uint64_t hit = occupied_[level] & mask;
    occupied_[level] &= ~mask;
    while (hit != 0) {
      const int slot = std::countr_zero(hit);
      hit &= hit - 1;
      due.splice_back(slots_[level][slot]);
    }
  }
}

void TimerWheel::advance() {
  const uint64_t to = tick_of(now_);
  // From one occupied slot to the next, so that timers fire in the order of their deadlines however far this goes.
  while (tick_ < to) {
    const uint64_t step = std::min(next_tick(), to);
    Slot due;
    collect(step, due);
    tick_ = step;
    while (Timer* timer = due.pop_front()) {
      if (timer->deadline_ms_ == Timer::kNever) continue;
      if (timer->deadline_ms_ > step) {
        link(*timer);
        continue;
      }
      timer->deadline_ms_ = Timer::kNever;
      timer->fire_(timer);
    }
  }
}

// The first tick at which a slot comes up that may have timers; UINT64_MAX: none.
uint64_t TimerWheel::next_tick() const {
  uint64_t next = UINT64_MAX;
  for (int level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const int shift = level * kSlotBits;
    const uint64_t current = tick_ >> shift;
    const uint64_t ahead = std::rotr(occupied_[level], static_cast<int>((current + 1) & (kSlots - 1)));
    next = std::min(next, (current + 1 + static_cast<uint64_t>(std::countr_zero(ahead))) << shift);
  }
  return next;
}

base::nanoseconds TimerWheel::until_next(base::MonotonicTime now) const {
  const uint64_t next = next_tick();
  if (next == UINT64_MAX) return base::nanoseconds::max();
  const base::MonotonicTime at = start_ + base::milliseconds(next);
  return at <= now ? base::nanoseconds(0) : std::chrono::duration_cast<base::nanoseconds>(at - now);
}

}  // namespace millrace::io
