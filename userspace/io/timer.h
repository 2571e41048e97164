// Timers on a hierarchical wheel with a tick of one millisecond (Varghese and Lauck, 1987; five levels of 64 slots).
// Made for timers that are armed and disarmed once per request and hardly ever fire: arming later and disarming only
// note the new deadline, the wheel finds out when the old slot comes up. A timer is a field of its owner; it never
// fires early and fires on the loop's thread. Destroying it disarms it.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/list.h"

namespace millrace::io {

class TimerWheel;

class Timer : private base::ListHook<Timer> {
 public:
  bool armed() const { return deadline_ms_ != kNever; }
  void arm(base::milliseconds after);
  void disarm() { deadline_ms_ = kNever; }

 protected:
  using Fire = void (*)(Timer*);
  Timer(TimerWheel& wheel, Fire fire) : wheel_(wheel), fire_(fire) {}
  ~Timer() = default;

 private:
  friend class TimerWheel;
  friend class base::List<Timer, Timer>;
  friend class base::ListHook<Timer>;
  static constexpr uint64_t kNever = UINT64_MAX;
  TimerWheel& wheel_;
  Fire fire_;
  uint64_t deadline_ms_ = kNever;  // wanted
  uint64_t slot_ms_ = 0;           // where it is linked
};

// TimerOf<&Owner::on_idle> idle_{loop.timers(), *this};
template <auto Method>
class TimerOf;

template <class Owner, void (Owner::*Method)()>
class TimerOf<Method> final : public Timer {
 public:
  TimerOf(TimerWheel& wheel, Owner& owner) : Timer(wheel, &TimerOf::dispatch), owner_(owner) {}

 private:
  static void dispatch(Timer* self) { (static_cast<TimerOf*>(self)->owner_.*Method)(); }
  Owner& owner_;
};

class TimerWheel {
 public:
  explicit TimerWheel(base::MonotonicTime start) : start_(start) {}

  void set_now(base::MonotonicTime now) { now_ = now; }
  // Fires what is due at now(), in the order of the deadlines. Timers armed by the callbacks fire at the next call at
  // the earliest.
  void advance();
  // How long the loop may sleep; nanoseconds::max() when no timer is linked.
  base::nanoseconds until_next(base::MonotonicTime now) const;
  base::MonotonicTime now() const { return now_; }

 private:
  friend class Timer;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kLevels = 5;  // 2^30 ms, 12 days; later deadlines wait in the last slot and are linked again
  using Slot = base::List<Timer, Timer>;

  uint64_t tick_of(base::MonotonicTime t) const {
    return static_cast<uint64_t>(std::chrono::duration_cast<base::milliseconds>(t - start_).count());
  }
  void link(Timer& timer);
  uint64_t next_tick() const;
  void collect(uint64_t to, Slot& due);

  base::MonotonicTime start_;
  base::MonotonicTime now_ = start_;
  uint64_t tick_ = 0;  // every slot up to and including this tick was collected
  std::array<std::array<Slot, kSlots>, kLevels> slots_;
  std::array<uint64_t, kLevels> occupied_{};  // a bit per slot; may be stale (slot emptied by a destroyed timer)
};

}  // namespace millrace::io
