// Accepts on a listening socket for one worker: multishot, until paused or stopped. When descriptors run out (EMFILE,
// ENFILE, ENOBUFS, ENOMEM) it rests a while instead of spinning; connections wait in the kernel's queue meanwhile. The
// descriptor belongs to the acceptor. Thread: the loop's.
#pragma once
#include <cstdint>
#include <functional>

#include "io/loop.h"

namespace millrace::net {

class Acceptor final : public io::Retired {
 public:
  // accepted(fd): the callee owns fd.
  Acceptor(io::Loop& loop, int fd, std::function<void(int)> accepted);

  void start();
  // Stops accepting; connections stay in the queue of the socket. start() goes on.
  void pause();
  // Closes the socket once nothing is in flight, and itself. Accepts what is already in the queue first, so that no
  // connection whose handshake is complete is lost.
  static void stop(std::unique_ptr<Acceptor> acceptor);

  int fd() const { return fd_; }
  uint64_t rests() const { return rests_; }  // times descriptors ran out

 private:
  void on_accept(const io::Completion& completion);
  void on_rest_over();
  void finish();

  static constexpr base::milliseconds kRest{50};
  io::Loop& loop_;
  int fd_;
  std::function<void(int)> accepted_;
  io::Op<&Acceptor::on_accept> accept_{*this};
  io::TimerOf<&Acceptor::on_rest_over> rest_;
  bool wanted_ = false;
  bool stopping_ = false;
  uint64_t rests_ = 0;
};

}  // namespace millrace::net
