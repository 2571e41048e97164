#include "fastpath/splice_worth.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fastpath/probe_path.h"

namespace millrace::fastpath {

using base::Result;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kSlice{800};        // of this thread's time, for one number
constexpr size_t kBatchBytes = 256 * 1024;              // of a flow in one direction
constexpr size_t kBatchMessagesMax = 64;
constexpr size_t kCopyBytes = 64 * 1024;                // of a proxy's reads
constexpr int kStallsMax = 20;                          // of a millisecond each

// What this thread has had of a CPU.
Clock::duration cpu_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

double us(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

void no_delay(const Fd& fd) {
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// A proxy's copy of one direction.
class Copy {
 public:
  // As far as both sides go without waiting; whether anything moved.
  bool run(int in, int out) {
    bool moved = false;
    while (true) {
      if (at_ == end_) {
        const ssize_t n = recv(in, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        if (n <= 0) return moved;
        at_ = 0;
        end_ = static_cast<size_t>(n);
      }
      const ssize_t n = send(out, buffer_.data() + at_, end_ - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n <= 0) return moved;
      at_ += static_cast<size_t>(n);
      moved = true;
    }
  }

 private:
  std::vector<char> buffer_ = std::vector<char>(kCopyBytes);
  size_t at_ = 0, end_ = 0;
};

// Left app, right app, and what is between them.
class Course {
 public:
  static Result<std::unique_ptr<Course>> open(ProbeGround& ground, SpliceWay way) {
    std::unique_ptr<Course> course(new Course(way));
    Result<ProbeGround::Connection> near = ground.connect();
    if (!near) return near.error();
    course->near_ = std::move(*near);
    if (way != SpliceWay::kDirect) {
      Result<ProbeGround::Connection> far = ground.connect();
      if (!far) return far.error();
      course->far_ = std::move(*far);
    }
    if (Result<void> offered = course->offer(ground.offers()); !offered) return offered.error();
    for (const Fd* fd : {&course->near_.dialled, &course->near_.accepted, &course->far_.dialled,
                         &course->far_.accepted}) {
      if (*fd) no_delay(*fd);
    }
    return course;
  }

  struct Stages {
    double send_us = 0, copy_us = 0, receive_us = 0;
    double sum() const { return send_us + copy_us + receive_us; }
    double busiest() const { return std::max({send_us, copy_us, receive_us}); }
  };

  // So many messages from one app to the other; nothing if they do not arrive.
  std::optional<Stages> carry(bool from_left, size_t size, size_t count) {
    const int from = from_left ? left() : right(), to = from_left ? right() : left();
    const size_t total = size * count;
    size_t sent = 0, received = 0;
    Stages stages;
    for (int stalls = 0; received < total;) {
      bool moved = false;
      const auto start = Clock::now();
      while (sent < total) {
        const ssize_t n = send(from, message_.data(), std::min(size - sent % size, message_.size()),
                               MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) break;
        sent += static_cast<size_t>(n);
        moved = true;
      }
      const auto after_send = Clock::now();
      if (copies_) moved = copy(from_left) || moved;
      const auto after_copy = Clock::now();
      while (received < total) {
        const ssize_t n = recv(to, message_.data(), message_.size(), MSG_DONTWAIT);
        if (n <= 0) break;
        received += static_cast<size_t>(n);
        moved = true;
      }
      stages.send_us += us(after_send - start);
      stages.copy_us += us(after_copy - after_send);
      stages.receive_us += us(Clock::now() - after_copy);
      if (moved) continue;
      if (++stalls > kStallsMax) return std::nullopt;
      pollfd wait{to, POLLIN, 0};
      poll(&wait, 1, 1);
    }
    return stages;
  }

 private:
  explicit Course(SpliceWay way)
      : way_(way), copies_(way == SpliceWay::kUserspace || way == SpliceWay::kHop), message_(kWorthBytes.back(), 'x') {}

  int left() const { return near_.dialled.get(); }
  int right() const { return way_ == SpliceWay::kDirect ? near_.accepted.get() : far_.dialled.get(); }

  bool copy(bool from_left) {
    const int in = from_left ? near_.accepted.get() : far_.accepted.get();
    const int out = from_left ? far_.accepted.get() : near_.accepted.get();
    return (from_left ? there_ : back_).run(in, out);
  }

  Result<void> offer(SpliceOffers& offers) {
    if (way_ == SpliceWay::kJoined) {
      Result<JoinedPair> pair = offers.join(near_.accepted.get(), far_.accepted.get(), 0, 0);
      if (!pair) return pair.error();
      pair_ = std::move(*pair);
    } else if (way_ == SpliceWay::kHop) {
      for (const bool near : {true, false}) {
        Result<HopOffer> hop = offers.offer_hop((near ? near_ : far_).accepted.get());
        if (!hop) return hop.error();
        (near ? near_hop_ : far_hop_) = std::move(*hop);
      }
    }
    return {};
  }

  SpliceWay way_;
  bool copies_;
  std::vector<char> message_;
  Copy there_, back_;
  ProbeGround::Connection near_, far_;
  HopOffer near_hop_, far_hop_;
  JoinedPair pair_;
};

// The cheapest of all that the slice has time for: what disturbs a measurement only ever adds to it.
bool measure(Course& course, size_t size, WorthCell& cell) {
  const auto least = [](double& known, double found) { known = known == 0 ? found : std::min(known, found); };
  for (const auto end = cpu_time() + kSlice; cpu_time() < end;) {
    const auto start = Clock::now();
    if (!course.carry(true, size, 1) || !course.carry(false, size, 1)) return false;
    least(cell.round_trip_us, us(Clock::now() - start));
  }
  const size_t count = std::clamp<size_t>(kBatchBytes / size, 1, kBatchMessagesMax);
  for (const auto end = cpu_time() + kSlice; cpu_time() < end;) {
    const std::optional<Course::Stages> stages = course.carry(true, size, count);
    if (!stages) return false;
    least(cell.one_way_us, stages->sum() / static_cast<double>(count));
    least(cell.stage_us, stages->busiest() / static_cast<double>(count));
  }
  return true;
}

std::string measure_way(ProbeGround& ground, SpliceWay way, SpliceWorth& worth, Clock::time_point limit) {
  Result<std::unique_ptr<Course>> course = Course::open(ground, way);
  if (!course) return course.error().to_string();
  for (size_t size = 0; size < kWorthBytes.size(); ++size) {
    if (Clock::now() > limit) return "it took too long";
    if (measure(**course, kWorthBytes[size], worth.at(way, size))) continue;
    return fmt::format("messages of {} bytes did not arrive", kWorthBytes[size]);
  }
  return "";
}

}  // namespace

SpliceWorth measure_splice_worth(const SplicePieces& pieces, std::chrono::milliseconds limit) {
  const auto start = Clock::now();
  SpliceWorth worth;
  SpliceOptions options;
  options.pieces = pieces;
  const bool v4 = pieces.hop_v4 || pieces.joined_v4;
  Result<std::unique_ptr<ProbeGround>> ground = ProbeGround::open(v4 ? "127.0.0.1" : "::1", options);
  if (!ground) {
    worth.why_not = ground.error().to_string();
    return worth;
  }
  for (const SpliceWay way : {SpliceWay::kDirect, SpliceWay::kUserspace, SpliceWay::kHop, SpliceWay::kJoined}) {
    if (way == SpliceWay::kHop && !(v4 ? pieces.hop_v4 : pieces.hop_v6)) continue;
    if (way == SpliceWay::kJoined && !(v4 ? pieces.joined_v4 : pieces.joined_v6)) continue;
    const std::string failure = measure_way(**ground, way, worth, start + limit);
    if (failure.empty()) continue;
    worth = {};
    worth.why_not = fmt::format("{}: {}", kSpliceWayNames[static_cast<size_t>(way)], failure);
    return worth;
  }
  worth.took_us = static_cast<uint32_t>(us(Clock::now() - start));
  return worth;
}

}  // namespace millrace::fastpath
