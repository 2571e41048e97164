#include "router/tcp_short_circuit.h"

#include <algorithm>
#include <utility>

namespace millrace::router {

bool TcpShortCircuit::turns(Direction direction, uint64_t bytes) {
  if (offers_ == nullptr) return false;
  if (joined()) {
    through_bytes_ += bytes;
    judge();
    return false;
  }
  const fastpath::JoinRule& rule = offers_->join_rule();
  if (rule.turns_min() == 0) return true;
  const uint64_t before = one_way_bytes_;
  const bool turned = std::exchange(direction_, direction) != direction;
  one_way_bytes_ = (turned ? 0 : before) + bytes;
  if (!turned || before == 0 || before > rule.turn_bytes_max()) return false;
  return ++turns_ >= rule.turns_min() * more_turns_;
}

void TcpShortCircuit::judge() {
  if (leaving_ || !offers_->join_rule().gives_up()) return;
  const uint64_t past =
      pair_.traffic(Direction::kFromDownstream).bytes + pair_.traffic(Direction::kFromUpstream).bytes;
  leaving_ = pair_.put_back() || worth_.costs(past, through_bytes_);
  if (!leaving_) return;
  offers_->learn(false);
  (void)pair_.dissolve();  // begins it; left() says when it is done
}

void TcpShortCircuit::forget() {
  constexpr uint32_t kMoreTurnsMax = 1024;
  pair_.withdraw();
  leaving_ = false;
  turns_ = 0;
  taken_ = {};
  through_bytes_ = 0;
  worth_ = {};
  more_turns_ = std::min(more_turns_ * 2, kMoreTurnsMax);
}

void TcpShortCircuit::join(net::Connection& downstream, net::Connection& upstream) {
  const uint64_t from_downstream = handed_on(Direction::kFromDownstream, downstream, upstream);
  const uint64_t from_upstream = handed_on(Direction::kFromUpstream, upstream, downstream);
  auto pair = offers_->join(downstream.fd(), upstream.fd(), from_downstream, from_upstream);
  // Most refusals last; but an app that is new may be on its way to not blocking.
  if (pair.ok()) pair_ = std::move(*pair);
  else if (std::exchange(asked_before_, true)) offers_ = nullptr;
}

// Less than it is does no harm: messages go on through TCP until the daemon has caught up.
uint64_t TcpShortCircuit::handed_on(Direction direction, net::Connection& from, const net::Connection& to) {
  uint64_t& known = handed_on_[static_cast<size_t>(direction)];
  if (from.input().empty() && to.unsent() == 0) known = from.bytes_received();
  return known;
}

void TcpShortCircuit::report(Direction direction, net::Connection& from, net::Connection& to) {
  if (joined()) pair_.report(direction, handed_on(direction, from, to));
}

TcpShortCircuit::Bytes TcpShortCircuit::take_bytes() {
  if (!joined()) return {};
  const Bytes now{pair_.traffic(Direction::kFromDownstream).bytes, pair_.traffic(Direction::kFromUpstream).bytes};
  const Bytes before = std::exchange(taken_, now);
  judge();
  return {now.from_downstream - before.from_downstream, now.from_upstream - before.from_upstream};
}

void TcpShortCircuit::withdraw() {
  if (joined() && !leaving_ && taken_.any()) offers_->learn(true);
  pair_.withdraw();
  offers_ = nullptr;
}

}  // namespace millrace::router
