#include "net/connection_security.h"

#include <cerrno>

namespace millrace::net {
namespace {

using base::Error;

// Cipher bytes made ahead of the socket. The rest stays plain, where it is counted once.
constexpr size_t kCipherBytesMax = 256 * 1024;
// Received and not taken while the handshake waits for its turn; no handshake message is near as long.
constexpr size_t kHandshakeBytesMax = 64 * 1024;
// For the last words: until the peer has read them.
constexpr base::milliseconds kFarewell{1'000};

}  // namespace

Error no_transport() {
  return {base::ErrorCode::kNotFound, base::Side::kInternal, 0, "TLS error: Secret is not supplied by SDS"};
}

size_t Connection::queued() const {
  return security_ == nullptr ? out_.size() : out_.size() + security_->wire_out.size();
}

std::string_view Connection::negotiated_protocol() const {
  return security_ == nullptr ? std::string_view() : security_->transport->protocol();
}

std::shared_ptr<const TransportFacts> Connection::transport_facts() const {
  return security_ == nullptr ? nullptr : security_->transport->facts();
}

bool Connection::all_decrypted() const { return security_->wire_in.empty(); }

base::MonotonicTime Connection::handshake_start() const { return security_->begun; }

base::MonotonicTime Connection::established_at() const { return security_->established; }

bool Connection::read_truncated() const { return security_ != nullptr && security_->truncated; }

ClientHints& Connection::make_client_hints() {
  if (hints_ == nullptr) hints_ = std::make_unique<ClientHints>();
  return *hints_;
}

void Connection::secure(std::unique_ptr<Transport> transport, base::milliseconds timeout) {
  MILLRACE_ASSERT(state_ == State::kOpen && security_ == nullptr);
  security_ = std::make_unique<Security>(*this, std::move(transport));
  security_->wire_in.move_from(in_);
  bytes_received_ = 0;  // of the plain stream, which begins now
  security_->begun = loop_.now();
  state_ = State::kHandshaking;
  if (timeout.count() > 0) timer_.arm(timeout);
}

// ---- the handshake

void Connection::begin_handshake() {
  security_->begun = loop_.now();
  state_ = State::kHandshaking;
  arm_recv();
  loop_.at_heavy_turn(security_->step);
}

void Connection::on_handshake_bytes(const io::Completion& completion) {
  loop_.at_heavy_turn(security_->step);
  if (security_->wire_in.size() < kHandshakeBytesMax) {
    if (!completion.more) arm_recv();
  } else if (completion.more) {
    loop_.backend().cancel(recv_);
  }
}

void Connection::handshake_step() {
  if (state_ != State::kHandshaking || failed_ || handler_ == nullptr) return;
  Security& s = *security_;
  base::Result<void> done;
  if (!std::exchange(s.started, true)) done = s.transport->start(s.wire_out);
  if (done.ok() && !s.wire_in.empty()) done = s.transport->receive(s.wire_in, in_, s.wire_out);
  schedule_flush();
  if (!done.ok()) return fail_transport(done.error());
  if (s.transport->established()) return on_established();
  if (!read_ended_) return arm_recv();
  timer_.disarm();
  fail({base::ErrorCode::kReset, base::Side::kInternal, ECONNRESET, "connection closed during the handshake"});
}

void Connection::on_established() {
  timer_.disarm();
  state_ = State::kOpen;
  security_->established = loop_.now();
  bytes_received_ += in_.size();
  read_ended_ |= security_->transport->ended();
  security_->transport->release_buffers();
  handler_->on_connected(*this);
  if (state_ != State::kOpen || handler_ == nullptr) return;
  arm_recv();
  if (!in_.empty() || !security_->wire_in.empty() || read_ended_) redeliver();
}

// ---- bytes

// What came, as plain bytes; false: it broke.
bool Connection::decrypt() {
  Security& s = *security_;
  if (!s.wire_in.empty() && !s.transport->ended()) {
    const size_t before = in_.size();
    const base::Result<void> done = s.transport->receive(s.wire_in, in_, s.wire_out);
    bytes_received_ += in_.size() - before;
    if (!s.wire_out.empty()) schedule_flush();
    if (!done.ok()) {
      fail_transport(done.error());
      return false;
    }
  }
  if (s.transport->ended()) {
    s.wire_in.clear();
    read_ended_ = true;
  } else if (read_ended_) {
    s.wire_in.clear();
    s.truncated = s.transport->announces_end();
  }
  return true;
}

// What is to be sent, as cipher bytes; false: it broke.
bool Connection::encrypt() {
  Security& s = *security_;
  if (write_error_ != nullptr) s.wire_out.clear();  // nobody takes it
  if (!s.transport->established() || write_error_ != nullptr || s.close_notified || failed_) return true;
  if (!out_.empty() && s.wire_out.size() < kCipherBytesMax) {
    const size_t before = out_.size();
    const base::Result<void> done = s.transport->send(out_, s.wire_out, kCipherBytesMax - s.wire_out.size());
    bytes_sent_ += before - out_.size();
    if (!done.ok()) {
      fail_transport(done.error());
      return false;
    }
  }
  if (out_.empty() && (end_written_ || state_ == State::kFlushing)) {
    s.close_notified = true;
    s.transport->close_notify(s.wire_out);
  }
  return true;
}

void Connection::fail_transport(const Error& error) {
  timer_.disarm();
  out_.clear();
  security_->alert = !security_->wire_out.empty() || send_.in_flight();
  schedule_flush();
  fail(error);
}

// Closing without delay what is in good order, or failed with an alert, sends that first: it is a few bytes.
bool Connection::may_say_farewell(CloseMode mode) {
  if (mode == CloseMode::kReset || write_error_ != nullptr || fd_ < 0) return false;
  const Security& s = *security_;
  const bool idle = mode == CloseMode::kNow && state_ == State::kOpen && !failed_ && !s.close_notified &&
                    s.wire_out.empty() && !send_.in_flight();
  const bool alert = s.alert && (state_ == State::kOpen || state_ == State::kHandshaking);
  if (!idle && !alert) return false;
  out_.clear();
  state_ = State::kFlushing;
  delay_close_ = alert;  // a peer that still sends would lose it to a reset
  delay_ = kFarewell;
  timer_.arm(kFarewell);
  arm_recv();
  return true;
}

}  // namespace millrace::net
