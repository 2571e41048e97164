// Signals as messages to the main loop: SIGTERM, SIGINT, SIGUSR1, SIGHUP through a signalfd. They are blocked in every
// thread by block(), which must run before any thread is made. SIGPIPE is ignored.
#pragma once
#include <functional>

#include "base/result.h"
#include "io/loop.h"

namespace millrace::server {

class Signals {
 public:
  Signals(io::Loop& loop, std::function<void(int)> on_signal);
  ~Signals();

  static void block();
  base::Result<void> start();
  void stop();

 private:
  void on_ready(const io::Completion& completion);

  io::Loop& loop_;
  std::function<void(int)> on_signal_;
  int fd_ = -1;
  bool stopping_ = false;
  io::Op<&Signals::on_ready> poll_{*this};
};

}  // namespace millrace::server
