#include "server/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

namespace millrace::server {
namespace {

sigset_t handled() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals(io::Loop& loop, std::function<void(int)> on_signal) : loop_(loop), on_signal_(std::move(on_signal)) {}

Signals::~Signals() {
  if (fd_ >= 0) ::close(fd_);
}

void Signals::block() {
  const sigset_t set = handled();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

base::Result<void> Signals::start() {
  const sigset_t set = handled();
  fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) return base::Error::from_errno(errno, "cannot create a signalfd");
  loop_.backend().poll(poll_, fd_, POLLIN);
  return {};
}

void Signals::stop() {
  stopping_ = true;
  if (poll_.in_flight()) loop_.backend().cancel(poll_);
}

void Signals::on_ready(const io::Completion&) {
  if (stopping_) return;
  signalfd_siginfo info;
  while (::read(fd_, &info, sizeof info) == sizeof info) on_signal_(static_cast<int>(info.ssi_signo));
  if (!stopping_) loop_.backend().poll(poll_, fd_, POLLIN);
}

}  // namespace millrace::server
