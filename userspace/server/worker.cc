#include "server/worker.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include "base/log.h"
#include "net/connection.h"

namespace millrace::server {

Worker::Worker(WorkerOptions options, std::shared_ptr<const config::Snapshot> snapshot,
               stream::AccessLogFiles& access_logs, GlobalConnections& global)
    : options_(options), snapshot_(std::move(snapshot)), access_log_files_(access_logs), global_(global) {}

Worker::~Worker() {
  if (thread_.joinable()) {
    stop();
    join();
  }
}

base::Result<void> Worker::start() {
  std::promise<base::Result<void>> started;
  std::future<base::Result<void>> result = started.get_future();
  thread_ = std::thread([this, started = std::move(started)]() mutable { run(std::move(started)); });
  base::Result<void> outcome = result.get();
  if (!outcome.ok()) thread_.join();
  return outcome;
}

void Worker::run(std::promise<base::Result<void>> started) {
  pthread_setname_np(pthread_self(), fmt::format("wrk:{}", options_.index).c_str());
  if (options_.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(options_.cpu), &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  }
  base::Result<std::unique_ptr<io::Backend>> backend = io::make_uring_backend(options_.ring);
  if (!backend.ok()) {
    started.set_value(backend.error());
    return;
  }
  loop_ = std::make_unique<io::Loop>(std::move(*backend));
  context_ = std::make_unique<filter::WorkerContext>(*loop_, options_.index, access_log_files_);
  clusters_ = std::make_unique<upstream::ThreadLocalClusters>(snapshot_->clusters, *loop_, options_.index);
  context_->clusters = clusters_.get();
  context_->original_destinations = options_.original_destinations;
  open_splice_offers();
  flush_timer_ = std::make_unique<io::TimerOf<&Worker::on_flush_timer>>(loop_->timers(), *this);
  flush_timer_->arm(options_.access_log_flush_interval);
  started.set_value(base::Result<void>());
  loop_->run();
  shut_down();
}

void Worker::open_splice_offers() {
  if (options_.splice == nullptr) return;
  auto offers = fastpath::SpliceOffers::open(*options_.splice, options_.index, options_.count, options_.splice_stats);
  if (!offers) {
    MILLRACE_LOG(kWarn, "fastpath", "worker {} short-circuits nothing: {}", options_.index,
                 offers.error().to_string());
    return;
  }
  splice_offers_.emplace(std::move(*offers));
  context_->splice_offers = &*splice_offers_;
  clusters_->set_splice_offers(&*splice_offers_);
}

// On the worker's thread: ends what is left and lets the kernel finish with it.
void Worker::shut_down() {
  for (auto& listener : listeners_) {
    listener->stop_accepting();
    listener->close_all();
  }
  clusters_->close();
  flush_timer_->disarm();
  context_->access_log.flush(false);
  constexpr base::milliseconds kLimit{1'000};
  const base::MonotonicTime begin = base::Clock::now();
  loop_->turn(base::milliseconds(0));
  while (net::Connection::alive() > 0 && base::Clock::now() - begin < kLimit) loop_->turn(base::milliseconds(10));
  for (int i = 0; i < 3; ++i) loop_->turn(base::milliseconds(1));  // acceptors' last completions
  listeners_.clear();
  loop_->turn(base::milliseconds(0));
  clusters_.reset();
  flush_timer_.reset();
  context_.reset();
  splice_offers_.reset();
}

void Worker::on_flush_timer() {
  context_->access_log.flush(true);
  flush_timer_->arm(options_.access_log_flush_interval);
}

void Worker::add_listener(SharedListener& listener, std::vector<int> fds) {
  loop_->post([this, &listener, fds = std::move(fds)] {
    listeners_.push_back(std::make_unique<WorkerListener>(*context_, listener, global_, directory_, fds));
    directory_.add(*listeners_.back());
  });
}

void Worker::start_listeners() {
  loop_->post([this] {
    for (auto& listener : listeners_) listener->start();
  });
}

void Worker::stop_listeners(std::function<bool(const SharedListener&)> which) {
  loop_->post([this, which = std::move(which)] {
    for (auto& listener : listeners_) {
      if (which(listener->shared())) listener->stop_accepting();
    }
  });
}

void Worker::drain() {
  loop_->post([this] {
    context_->draining = true;
    for (auto& listener : listeners_) listener->drain();
  });
}

void Worker::set_drain_close(bool on) {
  loop_->post([this, on] { context_->draining = on; });
}

void Worker::refresh_hosts(uint32_t cluster) {
  loop_->post([this, cluster] {
    if (clusters_ != nullptr) clusters_->refresh(cluster);
  });
}

void Worker::count_active(std::function<void(size_t)> reply) {
  loop_->post([this, reply = std::move(reply)] {
    size_t active = 0;
    for (auto& listener : listeners_) active += listener->active();
    reply(active);
  });
}

void Worker::stop() {
  if (loop_ != nullptr) loop_->stop();
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
  loop_.reset();  // not by the thread itself: stop() may be waking it
}

}  // namespace millrace::server
