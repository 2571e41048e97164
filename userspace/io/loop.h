// One thread's event loop: a backend (io_uring), timers, a mailbox, and what happens at the end of a turn. A turn is:
// deliver completions, fire timers, read the mailbox, take heavy steps (handshakes) as far as their share of the turn
// allows, run the turn hooks (connections flush what they wrote), delete what was retired, submit, wait. Everything of
// a loop belongs to its thread but post() and stop().
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/list.h"
#include "base/prng.h"
#include "io/backend.h"
#include "io/timer.h"

namespace millrace::io {

// Called once at the end of the turn in which it was scheduled.
class TurnHook : private base::ListHook<TurnHook> {
 protected:
  using Run = void (*)(TurnHook*);
  explicit TurnHook(Run run) : run_(run) {}
  ~TurnHook() = default;

 private:
  friend class Loop;
  friend class base::List<TurnHook, TurnHook>;
  friend class base::ListHook<TurnHook>;
  Run run_;
};

// HookOf<&Owner::flush> flush_{*this};
template <auto Method>
class HookOf;

template <class Owner, void (Owner::*Method)()>
class HookOf<Method> final : public TurnHook {
 public:
  explicit HookOf(Owner& owner) : TurnHook(&HookOf::dispatch), owner_(owner) {}

 private:
  static void dispatch(TurnHook* self) { (static_cast<HookOf*>(self)->owner_.*Method)(); }
  Owner& owner_;
};

// What is deleted at the end of the turn instead of under its own feet.
class Retired {
 public:
  virtual ~Retired() = default;
};

class Loop {
 public:
  explicit Loop(std::unique_ptr<Backend> backend);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  Backend& backend() { return *backend_; }
  TimerWheel& timers() { return timers_; }
  base::Prng& prng() { return prng_; }
  void seed(uint64_t seed) { prng_ = base::Prng(seed); }
  // Time as read at the start of the turn.
  base::MonotonicTime now() const { return timers_.now(); }
  base::SystemTime system_now() const { return system_now_; }

  void at_turn_end(TurnHook& hook) {
    if (!hook.linked()) hooks_.push_back(hook);
  }
  // Called once, in this turn or a later one: in order, each turn as many as fit into kHeavyShare and at least one, so
  // that a crowd of them delays everybody else by that much and no more.
  void at_heavy_turn(TurnHook& hook) {
    if (!hook.linked()) heavy_.push_back(hook);
  }
  void retire(std::unique_ptr<Retired> object) { retired_.push_back(std::move(object)); }

  // Any thread. Runs on the loop's thread, in order of posting. Closures left when the loop is destroyed are dropped.
  void post(std::function<void()> message);
  // Any thread: run() returns at the end of the turn.
  void stop();

  void run();
  // One turn; waits at most `limit` when there is nothing to do.
  void turn(base::nanoseconds limit = base::nanoseconds::max());
  uint64_t turns() const { return turns_; }

 private:
  void read_mailbox();
  void take_heavy_steps();
  void end_turn();

  static constexpr base::nanoseconds kHeavyShare = base::microseconds(1'000);
  static constexpr int kHeavyStepsMax = 64;  // whatever the clock says

  std::unique_ptr<Backend> backend_;
  TimerWheel timers_;
  base::Prng prng_;
  base::SystemTime system_now_;
  base::List<TurnHook, TurnHook> hooks_;
  base::List<TurnHook, TurnHook> heavy_;
  std::vector<std::unique_ptr<Retired>> retired_;
  uint64_t turns_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> mail_{false};
  std::mutex mailbox_mutex_;
  std::vector<std::function<void()>> mailbox_;
};

}  // namespace millrace::io
