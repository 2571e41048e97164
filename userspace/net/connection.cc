#include "net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>

#include "net/connection_security.h"

namespace millrace::net {
namespace {

using base::Error;

constexpr size_t kSendBytesMax = 512 * 1024;  // of one send: its blocks come back only when all of it is taken
constexpr size_t kCompactBytes = 2048;        // leftovers up to this leave the ring's blocks

thread_local size_t connections_alive = 0;

}  // namespace

size_t Connection::alive() { return connections_alive; }

Connection::Connection(io::Loop& loop, int fd, const Address* local)
    : loop_(loop), handler_(nullptr), fd_(fd), state_(State::kOpen), timer_(loop.timers(), *this),
      listener_address_(local) {
  ++connections_alive;
}

Connection::Connection(io::Loop& loop, const Address& to, const ConnectOptions& options, ConnectionHandler& handler)
    : loop_(loop), handler_(&handler), state_(State::kConnecting), timer_(loop.timers(), *this),
      connect_address_(std::make_unique<sockaddr_storage>()), remote_(std::make_unique<Address>(to)) {
  ++connections_alive;
  io::Backend& backend = loop_.backend();
  base::Result<int> opened = backend.open_socket(to.family());
  if (!opened.ok()) {
    fail(opened.error());
    return;
  }
  fd_ = *opened;
  if (to.is_ip()) {
    const int on = 1;
    backend.set_option(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options.keepalive != nullptr) apply_keepalive(backend, fd_, *options.keepalive);
  }
  if (options.socket_options != nullptr) apply_options(backend, fd_, *options.socket_options);
  if (options.transport != nullptr) {
    std::unique_ptr<Transport> transport = options.transport->create(options.transport_ask);
    if (transport == nullptr) {
      fail(no_transport());
      return;
    }
    security_ = std::make_unique<Security>(*this, std::move(transport));
  }
  if (!options.bind_address.empty()) {
    sockaddr_storage from;
    const socklen_t length = options.bind_address.to_sockaddr(from);
    if (base::Result<void> bound = backend.bind(fd_, reinterpret_cast<sockaddr*>(&from), length); !bound.ok()) {
      fail(bound.error());
      return;
    }
  }
  const socklen_t length = to.to_sockaddr(*connect_address_);
  timer_.arm(options.timeout);
  backend.connect(send_, fd_, reinterpret_cast<sockaddr*>(connect_address_.get()), length);
}

Connection::~Connection() { --connections_alive; }

std::unique_ptr<Connection> Connection::accepted(io::Loop& loop, int fd, const Address* local) {
  return std::unique_ptr<Connection>(new Connection(loop, fd, local));
}

std::unique_ptr<Connection> Connection::connect(io::Loop& loop, const Address& to, const ConnectOptions& options,
                                                ConnectionHandler& handler) {
  return std::unique_ptr<Connection>(new Connection(loop, to, options, handler));
}

void Connection::start() {
  arm_recv();
  end_delivered_ = false;
  if (security_ != nullptr) {
    if (state_ == State::kHandshaking) return loop_.at_heavy_turn(security_->step);
    if (!security_->wire_in.empty()) redeliver();
  }
  if (!in_.empty() || read_ended_) redeliver();
}

void Connection::arm_recv() {
  if (read_ended_ || recv_.in_flight() || fd_ < 0) return;
  if (state_ == State::kOpen ? pauses_ > 0 || failed_ : state_ != State::kFlushing && state_ != State::kHandshaking) {
    return;
  }
  loop_.backend().recv(recv_, fd_);
}

void Connection::write(base::Buffer& data, bool end_stream) {
  MILLRACE_DCHECK(!end_written_);
  if (write_error_) {
    data.clear();
    return;
  }
  out_.absorb(data);
  end_written_ |= end_stream;
  wrote();
}

void Connection::write(std::string_view bytes) {
  if (write_error_) return;
  out_.append(bytes);
  wrote();
}

void Connection::check_high_watermark() {
  if (above_high_ || queued() <= high_watermark_) return;
  above_high_ = true;
  if (handler_ != nullptr) handler_->on_above_high_watermark(*this);
}

void Connection::pause_reading() { ++pauses_; }

void Connection::resume_reading() {
  MILLRACE_ASSERT(pauses_ > 0);
  if (--pauses_ > 0) return;
  arm_recv();
  if (security_ != nullptr && !security_->wire_in.empty()) redeliver();
  if (!in_.empty() || (read_ended_ && !end_delivered_)) redeliver();
}

void Connection::redeliver() {
  redeliver_ = true;
  loop_.at_turn_end(turn_end_);
}

void Connection::on_recv(const io::Completion& completion) {
  base::Buffer& input = security_ == nullptr ? in_ : security_->wire_in;
  if (security_ == nullptr) bytes_received_ += completion.received->size();
  if (handler_ == nullptr) {
    completion.received->clear();  // closing: whatever the peer still says is dropped
  } else if (!completion.received->empty()) {
    input.absorb(*completion.received);
  }
  if (completion.result == 0) read_ended_ = true;

  if (state_ == State::kClosing) return finish_if_idle();
  if (state_ == State::kFlushing) {
    if (completion.result < 0 && completion.result != -ECANCELED) return begin_closing(false);
    if (read_ended_ && delay_close_ && queued() == 0) return begin_closing(false);
    if (!completion.more) arm_recv();
    return;
  }
  if (failed_) return;
  if (completion.result < 0 && completion.result != -ECANCELED) {
    fail(Error::from_errno(-completion.result, "connection failed while reading"));
    return;
  }
  if (state_ == State::kHandshaking) return on_handshake_bytes(completion);
  if (pauses_ > 0) {
    // Reading ahead ends with the first bytes that nobody wants yet.
    if (completion.more && !input.empty()) loop_.backend().cancel(recv_);
    return;
  }
  deliver();
  if (!completion.more) arm_recv();
}

void Connection::deliver() {
  if (handler_ == nullptr || failed_ || pauses_ > 0 || state_ != State::kOpen) return;
  if (security_ != nullptr && !decrypt()) return;
  const bool end = read_ended_ && !write_error_;
  if (!in_.empty() || (end && !end_delivered_)) {
    end_delivered_ |= end;
    handler_->on_data(*this, in_, end);
  }
  if (handler_ == nullptr || failed_) return;
  if (read_ended_ && write_error_) return fail(std::move(*write_error_));
  if (!in_.empty() && in_.size() <= kCompactBytes) in_.compact();
}

void Connection::on_turn_end() {
  if (redeliver_) {
    redeliver_ = false;
    deliver();
  }
  flush();
}

void Connection::flush() {
  if (send_.in_flight() || state_ == State::kConnecting || state_ == State::kClosing) return;
  if (security_ != nullptr && !encrypt()) return;
  base::Buffer& output = security_ == nullptr ? out_ : security_->wire_out;
  if (output.empty()) return after_flush();
  std::array<iovec, io::kSendVectorsMax> vectors;
  size_t bytes = 0;
  size_t count = output.fill(vectors.data(), vectors.size(), &bytes);
  while (count > 1 && bytes > kSendBytesMax) bytes -= vectors[--count].iov_len;
  const bool ends = end_written_ || (state_ == State::kFlushing && delay_close_);
  const bool fin_follows = ends && !end_sent_ && bytes == output.size() && (security_ == nullptr || out_.empty());
  loop_.backend().send(send_, fd_, std::span(vectors.data(), count), fin_follows);
}

void Connection::after_flush() {
  if (state_ == State::kHandshaking) return;
  if (end_written_ && !end_sent_) {
    end_sent_ = true;
    loop_.backend().shutdown_write(fd_);
  }
  if (notify_drained_ && handler_ != nullptr) {
    notify_drained_ = false;
    handler_->on_drained(*this);
    return;
  }
  if (state_ != State::kFlushing) return;
  if (!delay_close_ || read_ended_) return begin_closing(false);
  if (!end_sent_) {
    end_sent_ = true;
    loop_.backend().shutdown_write(fd_);
  }
  arm_recv();
}

void Connection::on_connect(int32_t result) {
  connect_address_.reset();
  if (state_ == State::kClosing) return finish_if_idle();
  if (result < 0) {
    timer_.disarm();
    const int os = result == -ECANCELED ? ETIMEDOUT : -result;
    return fail(Error::from_errno(os, "cannot connect"));
  }
  if (security_ != nullptr) return begin_handshake();
  timer_.disarm();
  state_ = State::kOpen;
  handler_->on_connected(*this);
  arm_recv();
  schedule_flush();
}

void Connection::on_send(const io::Completion& completion) {
  if (state_ == State::kConnecting || connect_address_ != nullptr) return on_connect(completion.result);
  if (completion.result > 0) {
    const size_t sent = static_cast<size_t>(completion.result);
    if (security_ == nullptr) {
      bytes_sent_ += sent;
      out_.drain(sent);
    } else {
      security_->wire_out.drain(sent);
    }
  }
  if (state_ == State::kClosing) return finish_if_idle();
  if (completion.result <= 0) {
    out_.clear();
    if (security_ != nullptr) security_->wire_out.clear();
    if (state_ == State::kFlushing) {
      if (completion.result == -ECANCELED && linked()) close_counter_->stats_.inc(close_counter_->index_);
      return begin_closing(false);
    }
    if (failed_) return;
    Error error =
        Error::from_errno(completion.result == 0 ? EPIPE : -completion.result, "connection failed while writing");
    // What the peer sent before it went may explain why: let reading find the end.
    if (!recv_.in_flight() || read_ended_) return fail(std::move(error));
    write_error_ = std::make_unique<Error>(std::move(error));
    return;
  }
  if (state_ == State::kFlushing && delay_.count() > 0) timer_.arm(delay_);
  flush();
  if (above_high_ && queued() <= high_watermark_ / 2) {
    above_high_ = false;
    if (handler_ != nullptr) handler_->on_below_low_watermark(*this);
  }
}

void Connection::fail(Error error) {
  if (handler_ == nullptr) return begin_closing(false);
  if (failed_) return;
  failed_ = true;
  failure_ = std::make_unique<Error>(std::move(error));
  // From a completion or the turn's end, never from within connect(): the handler does not hold us yet.
  loop_.at_turn_end(failure_hook_);
}

void Connection::on_failure() {
  if (handler_ != nullptr) handler_->on_error(*this, *failure_);
}

void Connection::on_timer() {
  if (state_ == State::kConnecting) {
    if (send_.in_flight()) loop_.backend().cancel(send_);
  } else if (state_ == State::kHandshaking) {
    fail(Error{base::ErrorCode::kTimeout, base::Side::kInternal, ETIMEDOUT, "the handshake took too long"});
  } else if (state_ == State::kFlushing) {
    // A send completes when all of it is taken: ask how much is. With any of it the peer is merely slow.
    if (send_.in_flight()) return loop_.backend().cancel(send_);
    if (linked()) close_counter_->stats_.inc(close_counter_->index_);
    begin_closing(false);
  }
}

void Connection::close(std::unique_ptr<Connection> connection, CloseMode mode, base::milliseconds delay,
                       DelayedCloseCounter* counter) {
  Connection* self = connection.release();
  self->handler_ = nullptr;
  self->in_.clear();
  if (self->security_ != nullptr) {
    self->security_->wire_in.clear();
    if (self->may_say_farewell(mode)) return self->schedule_flush();
  }
  const bool flush = mode == CloseMode::kFlush || mode == CloseMode::kFlushDelay;
  if (self->state_ != State::kOpen || self->failed_ || self->write_error_ || !flush) {
    return self->begin_closing(mode == CloseMode::kReset);
  }
  self->state_ = State::kFlushing;
  self->delay_close_ = mode == CloseMode::kFlushDelay;
  self->delay_ = delay;
  if (delay.count() > 0) {
    self->timer_.arm(delay);
    self->close_counter_ = counter;
    if (counter != nullptr) counter->closing_.push_back(*self);
  }
  self->arm_recv();  // a peer that goes is noticed
  self->schedule_flush();
}

void Connection::begin_closing(bool reset) {
  if (state_ == State::kClosing) return;
  state_ = State::kClosing;
  reset_ = reset;
  timer_.disarm();
  unlink();
  if (recv_.in_flight()) loop_.backend().cancel(recv_);
  if (send_.in_flight()) loop_.backend().cancel(send_);
  finish_if_idle();
}

void Connection::finish_if_idle() {
  if (recv_.in_flight() || send_.in_flight() || finished_) return;
  finished_ = true;
  if (reset_over_unread_ && !reset_) reset_ = loop_.backend().unread(fd_) > 0;
  if (fd_ >= 0) loop_.backend().close(fd_, reset_);
  loop_.retire(std::unique_ptr<Connection>(this));
}

const Address& Connection::remote_address() {
  if (remote_ == nullptr) {
    sockaddr_storage storage;
    const socklen_t length = loop_.backend().remote_address(fd_, storage);
    remote_ = std::make_unique<Address>();
    if (length > 0) *remote_ = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
  }
  return *remote_;
}

const Address& Connection::local_address() { return restored_ != nullptr ? *restored_ : direct_local_address(); }

const Address& Connection::direct_local_address() {
  if (listener_address_ != nullptr) return *listener_address_;
  if (local_ == nullptr) {
    sockaddr_storage storage;
    const socklen_t length = loop_.backend().local_address(fd_, storage);
    local_ = std::make_unique<Address>();
    if (length > 0) *local_ = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
  }
  return *local_;
}

}  // namespace millrace::net
