#include "net/acceptor.h"

#include <cerrno>

#include "base/log.h"

namespace millrace::net {

Acceptor::Acceptor(io::Loop& loop, int fd, std::function<void(int)> accepted)
    : loop_(loop), fd_(fd), accepted_(std::move(accepted)), rest_(loop.timers(), *this) {}

void Acceptor::start() {
  wanted_ = true;
  if (!accept_.in_flight()) loop_.backend().accept(accept_, fd_);
}

void Acceptor::pause() {
  wanted_ = false;
  rest_.disarm();
  if (accept_.in_flight()) loop_.backend().cancel(accept_);
}

void Acceptor::stop(std::unique_ptr<Acceptor> acceptor) {
  Acceptor* self = acceptor.release();
  self->stopping_ = true;
  self->pause();
  if (!self->accept_.in_flight()) self->finish();
}

void Acceptor::finish() {
  // Between the last completion and here more may have come: closing a socket resets what is in its queue.
  while (true) {
    const int accepted = loop_.backend().accept_now(fd_);
    if (accepted < 0) break;
    accepted_(accepted);
  }
  loop_.backend().close(fd_);
  loop_.retire(std::unique_ptr<Acceptor>(this));
}

void Acceptor::on_rest_over() {
  if (wanted_ && !accept_.in_flight()) loop_.backend().accept(accept_, fd_);
}

void Acceptor::on_accept(const io::Completion& completion) {
  if (completion.result >= 0) accepted_(completion.result);
  if (completion.more) return;
  if (stopping_) return finish();
  if (!wanted_) return;
  switch (-completion.result) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      if (rests_++ == 0) {
        MILLRACE_LOG(kWarn, "connection", "out of descriptors or memory while accepting: {}; resting {} ms at a time",
                     base::Error::from_errno(-completion.result, "accept").to_string(), kRest.count());
      }
      rest_.arm(kRest);
      break;
    default:
      loop_.backend().accept(accept_, fd_);
  }
}

}  // namespace millrace::net
