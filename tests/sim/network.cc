// The daemon's side: operations, sockets, time.
#include "sim/network.h"

#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace millrace::sim {

namespace {

constexpr int kFirstFd = 3;
constexpr size_t kBlockBytesMax = 16 * 1024;  // as of the daemon's receive buffers

}  // namespace

Network::~Network() {
  for (auto& end : ends_) {
    for (Pending* pending : {&end->receiving, &end->sending, &end->accepting, &end->connecting, &end->polling}) {
      if (*pending) abandon(*pending->op);
    }
  }
  for (Queued& queued : completions_) abandon(*queued.op);
}

Network::End& Network::end_of(int fd) {
  MILLRACE_ASSERT(fd >= 0 && static_cast<size_t>(fd) < by_fd_.size());
  End* end = by_fd_[static_cast<size_t>(fd)];
  MILLRACE_ASSERT(end != nullptr && !end->closed);
  return *end;
}

size_t Network::open_sockets() const {
  return static_cast<size_t>(std::count_if(by_fd_.begin(), by_fd_.end(), [](const End* end) {
    return end != nullptr && !end->closed;
  }));
}

int Network::take_fd(End& end) {
  size_t fd = kFirstFd;
  while (fd < by_fd_.size() && by_fd_[fd] != nullptr) ++fd;  // the lowest, as the kernel: numbers come again soon
  if (fd >= by_fd_.size()) by_fd_.resize(fd + 1);
  by_fd_[fd] = &end;
  return end.fd = static_cast<int>(fd);
}

// ---- what the daemon asks for

void Network::start(Pending& pending, io::Operation& op, int fd) {
  MILLRACE_ASSERT(!pending);
  begin(op, fd, 0);
  pending = {&op, false, now_};
}

void Network::accept(io::Operation& op, int fd) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(end.state == End::State::kListening);
  start(end.accepting, op, fd);
}

int Network::accept_now(int fd) {
  End& end = end_of(fd);
  if (end.backlog.empty()) return -EAGAIN;
  End& accepted = *end.backlog.front();
  end.backlog.pop_front();
  return take_fd(accepted);
}

void Network::recv(io::Operation& op, int fd) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(end.state == End::State::kOpen);
  start(end.receiving, op, fd);
}

void Network::send(io::Operation& op, int fd, std::span<const iovec> vectors, bool) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(end.state == End::State::kOpen && !end.write_ended);
  MILLRACE_ASSERT(!vectors.empty() && vectors.size() <= io::kSendVectorsMax);
  start(end.sending, op, fd);
  end.out = {};
  end.out.vectors.assign(vectors.begin(), vectors.end());
  for (const iovec& vector : vectors) end.out.left += vector.iov_len;
  MILLRACE_ASSERT(end.out.left > 0);
}

void Network::connect(io::Operation& op, int fd, const sockaddr* address, socklen_t length) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(end.state == End::State::kFresh);
  start(end.connecting, op, fd);
  end.state = End::State::kConnecting;
  std::copy_n(reinterpret_cast<const char*>(address), length, reinterpret_cast<char*>(&end.remote));
  end.remote_length = length;
  at(latency(), [this, &end, to = key(address, length)] { finish_connect(end, to); });
}

void Network::poll(io::Operation& op, int fd, uint32_t events) {
  MILLRACE_ASSERT(events == POLLIN);
  start(end_of(fd).polling, op, fd);
}

void Network::cancel(io::Operation& op) {
  MILLRACE_ASSERT(op.in_flight());
  End& end = end_of(fd_of(op));
  for (Pending* pending : {&end.receiving, &end.sending, &end.accepting, &end.connecting, &end.polling}) {
    if (pending->op == &op) pending->cancelled = true;  // if it is in none, its last completion waits already
  }
}

base::Result<int> Network::open_socket(int) {
  if (chance(faults_.socket_fails)) return base::Error::from_errno(EMFILE, "cannot create a socket");
  return take_fd(make_end());
}

base::Result<void> Network::bind(int fd, const sockaddr* address, socklen_t length) {
  End& end = end_of(fd);
  std::copy_n(reinterpret_cast<const char*>(address), length, reinterpret_cast<char*>(&end.local));
  end.local_length = length;
  return {};
}

socklen_t Network::local_address(int fd, sockaddr_storage& address) {
  const End& end = end_of(fd);
  address = end.local;
  return end.local_length;
}

socklen_t Network::remote_address(int fd, sockaddr_storage& address) {
  const End& end = end_of(fd);
  address = end.remote;
  return end.dead ? 0 : end.remote_length;  // ENOTCONN
}

void Network::shutdown_write(int fd) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(!end.sending);
  if (end.write_ended || end.dead || end.state != End::State::kOpen) return;
  end.write_ended = true;
  push(*end.other, {Segment::Kind::kFin, {}});
}

void Network::close(int fd, bool reset) {
  End& end = end_of(fd);
  MILLRACE_ASSERT(!end.receiving && !end.sending && !end.accepting && !end.connecting && !end.polling);
  if (end.state == End::State::kListening) {
    listeners_.erase(key(reinterpret_cast<const sockaddr*>(&end.local), end.local_length));
    for (End* waiting : end.backlog) {
      waiting->closed = true;
      send_reset(*waiting, false);
    }
    end.backlog.clear();
  } else if (end.state == End::State::kOpen && !end.dead) {
    if (reset || !end.inbox.empty()) {
      send_reset(end, true);
    } else if (!end.write_ended) {
      push(*end.other, {Segment::Kind::kFin, {}});
    }
  }
  end.closed = true;
  end.inbox.clear();
  closed_fds_.push_back(fd);
}

int Network::listen(const net::Address& address) {
  End& end = make_end();
  end.state = End::State::kListening;
  end.local_length = address.to_sockaddr(end.local);
  const int fd = take_fd(end);
  const std::string where = key(reinterpret_cast<const sockaddr*>(&end.local), end.local_length);
  const bool fresh = listeners_.emplace(where, fd).second;
  MILLRACE_ASSERT(fresh);
  return fd;
}

// ---- completions

void Network::queue(Pending& pending, int32_t result, bool more, base::Buffer received) {
  completions_.push_back({pending.op, {result, more, nullptr}, std::move(received)});
  if (!more) pending = {};
}

void Network::deliver() {
  while (!completions_.empty()) {
    Queued queued = std::move(completions_.front());
    completions_.pop_front();
    ++stats_.completions;
    queued.completion.received = &queued.received;
    complete(queued.op, queued.completion);
  }
}

// An operation now and then has to wait; cancelled ones do not.
bool Network::may_run(Pending& pending) {
  if (pending.cancelled) return true;
  if (now_ < pending.not_before) return false;
  if (!chance(faults_.stalls)) return true;
  ++stats_.buffers_exhausted;
  pending.not_before = now_ + latency() + base::microseconds(1);
  at(pending.not_before - now_, [] {});
  return false;
}

// Each received portion in a block of just its size, so that a sanitizer sees every byte read or written beyond it.
base::BlockRef Network::fill_block(std::string_view bytes) {
  auto* block = new base::Block;
  block->data = new uint8_t[bytes.size()];
  block->capacity = static_cast<uint32_t>(bytes.size());
  block->owner = this;
  block->release = &Network::release_block;
  std::copy(bytes.begin(), bytes.end(), block->data);
  held_bytes_ += bytes.size();
  return base::BlockRef(block);
}

void Network::release_block(base::Block* block) {
  static_cast<Network*>(block->owner)->held_bytes_ -= block->capacity;
  delete[] block->data;
  delete block;
}

void Network::receive_some(End& end, bool more) {
  base::Buffer received;
  const size_t n = portion(std::min(end.inbox.size(), 4 * kBlockBytesMax));
  for (size_t done = 0; done < n;) {
    const size_t part = std::min(portion(n - done), kBlockBytesMax);
    base::BlockRef block = fill_block(std::string_view(end.inbox).substr(done, part));
    uint8_t* data = block->data;
    received.append(std::move(block), data, data + part);
    done += part;
  }
  end.inbox.erase(0, n);
  read_happened(end);
  queue(end.receiving, static_cast<int32_t>(n), more, std::move(received));
}

bool Network::progress_receive(End& end) {
  Pending& op = end.receiving;
  if (op.cancelled) {
    // Data may overtake the cancellation, or come instead of it.
    if (!end.inbox.empty() && chance(5'000)) receive_some(end, !chance(1'000));
    if (op) queue(op, -ECANCELED, false);
    return true;
  }
  if (!end.inbox.empty()) {
    receive_some(end, !chance(faults_.multishot_ends));
    return true;
  }
  if (end.error != 0) {
    queue(op, -std::exchange(end.error, 0), false);
    return true;
  }
  if (end.dead || end.fin_arrived) {
    queue(op, 0, false);
    return true;
  }
  return false;
}

bool Network::progress_send(End& end) {
  Pending& op = end.sending;
  SendVectors& out = end.out;
  if (op.cancelled) {
    queue(op, out.taken > 0 ? static_cast<int32_t>(out.taken) : -ECANCELED, false);  // as Linux since 6.1
    return true;
  }
  if (end.dead) {
    const int error = out.taken == 0 && end.error == 0 ? EPIPE : end.error;
    if (out.taken == 0) end.error = 0;
    queue(op, out.taken > 0 ? static_cast<int32_t>(out.taken) : -error, false);
    return true;
  }
  bool moved = false;
  while (out.left > 0) {
    iovec& vector = out.vectors[out.index];
    const size_t n = std::min(portion(vector.iov_len - out.offset), room(*end.other));
    if (n == 0 && vector.iov_len > 0) break;
    if (n > 0) {
      push(*end.other, {Segment::Kind::kBytes, std::string(static_cast<const char*>(vector.iov_base) + out.offset, n)});
    }
    out.offset += n;
    out.taken += n;
    out.left -= n;
    moved = true;
    if (out.offset == vector.iov_len) {
      ++out.index;
      out.offset = 0;
    }
    if (chance(faults_.stalls)) break;
  }
  if (out.left == 0) queue(op, static_cast<int32_t>(out.taken), false);
  return moved;
}

bool Network::progress_accept(End& end) {
  Pending& op = end.accepting;
  if (!op.cancelled && end.backlog.empty()) return false;
  if (!op.cancelled && chance(faults_.accept_fails)) {
    static constexpr int kErrors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    queue(op, -kErrors[prng_.below(std::size(kErrors))], false);
    return true;
  }
  if (!end.backlog.empty() && (!op.cancelled || chance(5'000))) {
    End& accepted = *end.backlog.front();
    end.backlog.pop_front();
    queue(op, take_fd(accepted), true);
  }
  if (op.cancelled) queue(op, -ECANCELED, false);
  return true;
}

bool Network::progress_connect(End& end) {
  if (!end.connect_done && !end.connecting.cancelled) return false;
  const bool late = end.connecting.cancelled && !(end.connect_done && chance(5'000));
  if (late || end.connect_result < 0) {
    if (late && end.state == End::State::kOpen) {  // the kernel gives up the connection it had
      send_reset(end, true);
      end.dead = true;
    }
    end.state = End::State::kFresh;
  }
  queue(end.connecting, late ? -ECANCELED : end.connect_result, false);
  return true;
}

bool Network::progress(End& end) {
  bool moved = false;
  // Which of the two directions comes first decides who is told of an error.
  const bool send_first = chance(5'000);
  if (send_first && end.sending && may_run(end.sending)) moved |= progress_send(end);
  if (end.receiving && may_run(end.receiving)) moved |= progress_receive(end);
  if (!send_first && end.sending && may_run(end.sending)) moved |= progress_send(end);
  if (end.accepting) moved |= progress_accept(end);
  if (end.connecting) moved |= progress_connect(end);
  if (end.polling && (end.polling.cancelled || !end.inbox.empty() || end.fin_arrived || end.dead)) {
    queue(end.polling, end.polling.cancelled ? -ECANCELED : POLLIN, false);
    moved = true;
  }
  return moved;
}

bool Network::progress_all(bool all) {
  bool moved = false;
  const size_t count = by_fd_.size();
  const size_t start = count > 0 ? prng_.below(count) : 0;
  for (size_t i = 0; i < count; ++i) {
    End* end = by_fd_[(start + i) % count];
    if (end == nullptr || end->closed || (!all && chance(3'000))) continue;
    moved |= progress(*end);
  }
  return moved;
}

void Network::run_due_events() {
  while (!events_.empty() && events_.top().at <= now_) {
    std::function<void()> run = std::move(const_cast<Event&>(events_.top()).run);
    events_.pop();
    run();
  }
}

void Network::wait(base::nanoseconds timeout) {
  ++stats_.submissions;
  for (int fd : closed_fds_) by_fd_[static_cast<size_t>(fd)] = nullptr;
  closed_fds_.clear();
  now_ += base::microseconds(prng_.below(20));  // work takes time
  run_due_events();
  if (!progress_all(false)) progress_all(true);
  if (!completions_.empty()) return;
  const bool forever = timeout > base::nanoseconds(std::chrono::hours(24 * 365));
  const base::MonotonicTime deadline = forever ? base::MonotonicTime::max() : now_ + timeout;
  while (completions_.empty() && !events_.empty() && events_.top().at <= deadline) {
    now_ = std::max(now_, events_.top().at);
    run_due_events();
    progress_all(true);
  }
  if (completions_.empty() && !forever) now_ = std::max(now_, deadline);
}

}  // namespace millrace::sim
