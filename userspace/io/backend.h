// What a loop asks of the system: completion-based io. The io_uring implementation is the only one in the daemon; tests
// link a simulated one with a virtual clock (tests/sim). Each operation given here is in flight until its last
// completion, delivered from deliver(). One thread, but for wake(). Errors arrive as completions with a negative errno.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "base/clock.h"
#include "base/result.h"
#include "io/operation.h"
#include "io/wakeup_moderation.h"

namespace millrace::io {

// The most vectors that one send may have.
inline constexpr size_t kSendVectorsMax = 64;

struct BackendStats {
  uint64_t submissions = 0;         // io_uring_enter calls
  uint64_t completions = 0;
  uint64_t cq_overflows = 0;        // turns that found the completion queue overflown
  uint64_t buffers_exhausted = 0;   // recv operations that had to wait for a buffer
  uint64_t buffer_bytes = 0;        // receive buffers mapped
  uint64_t buffers_out = 0;         // receive buffers held outside the ring
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual base::MonotonicTime now() = 0;
  virtual base::SystemTime system_now() = 0;

  // Multishot: result is a connected descriptor. Ends on error (EMFILE, ECANCELED): re-arm after a while.
  virtual void accept(Operation& op, int fd) = 0;
  // One connection that waits in the queue, at once; -EAGAIN when there is none.
  virtual int accept_now(int fd) = 0;
  // Multishot: bytes arrive in blocks of the backend's pool. result 0 is end of stream. A pool that runs dry only
  // delays.
  virtual void recv(Operation& op, int fd) = 0;
  // One send in flight per socket. Completes with the bytes taken: all of them, unless the connection breaks. The
  // vectors' bytes must stay until completion, the array itself need not. more: shutdown_write() follows as soon as it
  // completed, so that the last bytes and the FIN may leave in one segment.
  virtual void send(Operation& op, int fd, std::span<const iovec> vectors, bool more) = 0;
  // The address must stay until completion.
  virtual void connect(Operation& op, int fd, const sockaddr* address, socklen_t length) = 0;
  // Waits for the poll events once.
  virtual void poll(Operation& op, int fd, uint32_t events) = 0;
  // Asks for the end of an operation in flight; it still completes, perhaps with data, at last with -ECANCELED or its
  // result.
  virtual void cancel(Operation& op) = 0;

  // Sockets, here so that a simulation can supply its own. Close-on-exec.
  virtual base::Result<int> open_socket(int family) = 0;
  virtual base::Result<void> bind(int fd, const sockaddr* address, socklen_t length) = 0;
  virtual void set_option(int fd, int level, int name, const void* value, socklen_t length) = 0;
  // getsockname, getpeername; length 0 when the socket has none.
  virtual socklen_t local_address(int fd, sockaddr_storage& address) = 0;
  virtual socklen_t remote_address(int fd, sockaddr_storage& address) = 0;
  // Where an accepted connection went before the kernel's NAT redirected it (SO_ORIGINAL_DST); length 0 when nobody
  // knows. family: AF_INET for what is IPv4 on the wire, whatever the socket is.
  virtual socklen_t original_destination(int /*fd*/, int /*family*/, sockaddr_storage& /*address*/) { return 0; }
  // Bytes that were received and not read yet.
  virtual size_t unread(int /*fd*/) { return 0; }
  virtual void shutdown_write(int fd) = 0;
  // reset: the peer is sent RST and unsent bytes are dropped. Nothing may be in flight on fd.
  virtual void close(int fd, bool reset = false) = 0;

  // Submits what was asked and waits at most `timeout` for a completion (0: does not wait).
  virtual void wait(base::nanoseconds timeout) = 0;
  // Delivers the completions that are there.
  virtual void deliver() = 0;
  // Any thread: makes wait() return soon.
  virtual void wake() = 0;

  virtual const BackendStats& stats() const = 0;

 protected:
  static void begin(Operation& op, int fd, uint8_t kind) {
    MILLRACE_ASSERT(!op.in_flight_);
    op.in_flight_ = true;
    op.fd_ = fd;
    op.kind_ = kind;
  }
  // The backend is gone and with it whatever was in flight.
  static void abandon(Operation& op) { op.in_flight_ = false; }
  static int fd_of(const Operation& op) { return op.fd_; }
  static uint8_t kind_of(const Operation& op) { return op.kind_; }
  static void complete(Operation* op, const Completion& completion) {
    op->in_flight_ = completion.more;
    op->complete_(op, completion);
  }
};

struct UringOptions {
  uint32_t entries = 1024;            // submission queue; the completion queue has 8 times as many
  uint32_t buffer_bytes = 16 * 1024;  // of one receive buffer
  // Receive buffers offered to the kernel at a time (power of two). Also the most that can be received in one turn,
  // which bounds what is read ahead of a reader that has just become slow.
  uint32_t ring_buffers = 256;
  uint64_t buffer_bytes_max = 256ull << 20;  // all receive buffers of this loop; beyond it reading waits
  bool bundles = true;                // one completion for several buffers, where the kernel can (6.10)
  WakeupModerationOptions moderation{};  // where the kernel can (6.12)
};

// Must be called on the thread that will use it. Error kUnsupported says in one sentence why io_uring is refused here
// (sysctl kernel.io_uring_disabled, seccomp, a kernel before 6.1).
base::Result<std::unique_ptr<Backend>> make_uring_backend(const UringOptions& options);

}  // namespace millrace::io
