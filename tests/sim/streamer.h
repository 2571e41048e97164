// Simulated clients and servers of plain byte streams.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "sim/bytes.h"
#include "sim/network.h"

namespace millrace::sim {

// Either end of a session that carries two byte streams. With a greeting it speaks HTTP first: the client asks for an
// upgrade and streams once that is granted, the server grants it.
class Streamer final : public Peer {
 public:
  enum class Manner : uint8_t {
    kPolite,  // ends its stream, reads the other's to the end
    kWaits,   // as polite, but ends its own stream after the other's
    kAborts,  // closes or resets on the way
    kSilent,  // stops on the way and says nothing more
  };

  Streamer(Network& network, uint64_t id, uint64_t bytes, Manner manner)
      : network_(network), prng_(network.prng().next()), out_(id, bytes), manner_(manner) {
    stop_at_ = prng_.below(out_.total() + 1);
    slow_ = prng_.below(3) == 0;
  }
  void attach(Network::Socket socket) { socket_ = socket; }

  // Text to open with, and what the other side's opening has to start with; both end in an empty line.
  void greet(std::string greeting, std::string expected, bool first) {
    greeting_ = std::move(greeting);
    expected_ = std::move(expected);
    greets_first_ = first;
  }

  void on_connected() override {
    if (expected_.empty()) return step();
    if (greets_first_) network_.write(socket_, greeting_);
  }
  void on_readable() override {
    if (!slow_) return take(SIZE_MAX);
    if (reading_) return;
    reading_ = true;
    network_.at(base::microseconds(prng_.below(20'000)), [this] {
      reading_ = false;
      if (over_) return;
      take(1 + prng_.below(8'192));
      if (network_.readable(socket_) > 0) on_readable();
    });
  }
  void on_end() override {
    saw_end_ = true;
    if (manner_ == Manner::kSilent || !expected_.empty()) return finish(false);
    if (manner_ == Manner::kWaits) step();
    maybe_hang_up();
  }
  void on_reset() override {
    take(SIZE_MAX);
    was_reset_ = true;
    finish(false);
  }

  const Outgoing& out() const { return out_; }
  const Incoming& in() const { return in_; }
  bool saw_end() const { return saw_end_; }
  bool was_reset() const { return was_reset_; }
  bool over() const { return over_; }
  std::string describe() const {
    static constexpr const char* kManners[] = {"polite", "waits", "aborts", "silent"};
    return "stream " + std::to_string(out_.id()) + " (" + kManners[static_cast<int>(manner_)] + "): wrote " +
           std::to_string(out_.sent()) + " of " + std::to_string(out_.total()) + ", " +
           std::to_string(network_.unsent(socket_)) + " unsent; read " + std::to_string(in_.received()) +
           " of stream " + std::to_string(in_.id()) + (saw_end_ ? ", the end" : "") + (was_reset_ ? ", a reset" : "") +
           (expected_.empty() ? "" : ", no greeting") + (over_ ? "" : ", not over");
  }
  bool greeted() const { return expected_.empty(); }
  bool refused() const { return refused_; }
  bool polite() const { return manner_ == Manner::kPolite || manner_ == Manner::kWaits; }
  Manner manner() const { return manner_; }

 private:
  void take(size_t max) {
    std::string bytes = network_.read(socket_, max);
    if (!expected_.empty() && !read_greeting(bytes)) return;
    EXPECT_TRUE(in_.take(bytes)) << "stream " << out_.id() << " was given wrong bytes";
  }
  // False: there is nothing behind it yet, or it was a refusal.
  bool read_greeting(std::string& bytes) {
    heard_ += bytes;
    const size_t end = heard_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    if (!heard_.starts_with(expected_)) {
      refused_ = true;
      finish(false);
      return false;
    }
    bytes = heard_.substr(end + 4);
    expected_.clear();
    if (!greets_first_) network_.write(socket_, greeting_);
    step();
    return !bytes.empty();
  }
  void step() {
    if (over_ || ended_ || stepping_) return;
    if (manner_ == Manner::kAborts && out_.sent() >= stop_at_) return finish(prng_.below(2) == 0);
    if (manner_ == Manner::kSilent && out_.sent() >= stop_at_) return;
    if (!out_.done()) {
      if (network_.unsent(socket_) < 64 * 1024) network_.write(socket_, out_.next(1 + prng_.below(30'000)));
      stepping_ = true;
      network_.at(base::microseconds(prng_.below(5'000)), [this] {
        stepping_ = false;
        step();
      });
      return;
    }
    if (manner_ == Manner::kWaits && !saw_end_) return;
    ended_ = true;
    network_.end(socket_);
    maybe_hang_up();
  }
  void maybe_hang_up() {
    if (ended_ && saw_end_ && network_.unsent(socket_) == 0) finish(false);
    else if (ended_ && saw_end_) network_.at(base::milliseconds(1), [this] { if (!over_) maybe_hang_up(); });
  }
  void finish(bool reset) {
    if (over_) return;
    over_ = true;
    network_.hang_up(socket_, reset);
  }

  Network& network_;
  base::Prng prng_;
  Network::Socket socket_ = 0;
  Outgoing out_;
  Incoming in_;
  std::string greeting_, expected_, heard_;
  bool greets_first_ = false, refused_ = false;
  const Manner manner_;
  uint64_t stop_at_ = 0;
  bool slow_ = false, reading_ = false, stepping_ = false, ended_ = false, saw_end_ = false, was_reset_ = false;
  bool over_ = false;
};

}  // namespace millrace::sim
