#include "io/loop.h"

#include <algorithm>

namespace millrace::io {

Loop::Loop(std::unique_ptr<Backend> backend)
    : backend_(std::move(backend)), timers_(backend_->now()), prng_(base::random_seed()),
      system_now_(backend_->system_now()) {}

Loop::~Loop() { end_turn(); }

void Loop::post(std::function<void()> message) {
  {
    std::lock_guard lock(mailbox_mutex_);
    mailbox_.push_back(std::move(message));
  }
  if (!mail_.exchange(true, std::memory_order_acq_rel)) backend_->wake();
}

void Loop::stop() {
  stopped_.store(true, std::memory_order_release);
  backend_->wake();
}

void Loop::read_mailbox() {
  if (!mail_.exchange(false, std::memory_order_acq_rel)) return;
  std::vector<std::function<void()>> messages;
  {
    std::lock_guard lock(mailbox_mutex_);
    messages.swap(mailbox_);
  }
  for (std::function<void()>& message : messages) message();
}

void Loop::take_heavy_steps() {
  if (heavy_.empty()) return;
  const base::MonotonicTime until = backend_->now() + kHeavyShare;
  for (int steps = 0; steps < kHeavyStepsMax; ++steps) {
    TurnHook* hook = heavy_.pop_front();
    if (hook == nullptr) return;
    hook->run_(hook);
    if (backend_->now() >= until) return;
  }
}

void Loop::end_turn() {
  // A hook may schedule others, a destructor may retire others: until both are quiet.
  while (!hooks_.empty() || !retired_.empty()) {
    while (TurnHook* hook = hooks_.pop_front()) hook->run_(hook);
    std::vector<std::unique_ptr<Retired>> retired;
    retired.swap(retired_);
  }
}

void Loop::turn(base::nanoseconds limit) {
  ++turns_;
  base::nanoseconds timeout = std::min(limit, timers_.until_next(timers_.now()));
  if (mail_.load(std::memory_order_acquire) || !heavy_.empty()) timeout = base::nanoseconds(0);
  backend_->wait(timeout);
  system_now_ = backend_->system_now();
  timers_.set_now(backend_->now());
  backend_->deliver();
  timers_.advance();
  read_mailbox();
  take_heavy_steps();
  end_turn();
}

void Loop::run() {
  while (!stopped_.load(std::memory_order_acquire)) turn();
  stopped_.store(false, std::memory_order_release);
}

}  // namespace millrace::io
