#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>
#include <vector>

#include "base/log.h"
#include "io/backend.h"

namespace millrace::io {
namespace {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

// Newer than Debian 12's liburing 2.3 knows (kernel 6.10): one completion covers several consecutive buffers.
constexpr uint16_t kRecvSendBundle = 1u << 4;
// Likewise (kernel 6.12): a wait for several completions that is content with fewer after a while.
constexpr uint32_t kFeatMinTimeout = 1u << 15;
struct GetEventsArg {  // io_uring_getevents_arg, with the field that was padding before
  uint64_t sigmask;
  uint32_t sigmask_bytes;
  uint32_t min_wait_us;
  uint64_t timeout;
};

// The low bits of user_data say what an operation is; operations are aligned to 8.
enum Kind : uint8_t { kPlain = 0, kRecv = 1, kKindMask = 3 };

struct SendSlot {
  msghdr header;
  iovec vectors[kSendVectorsMax];
};

constexpr uint64_t kIgnore = 0;  // completions nobody waits for: cancels, closes
constexpr uint16_t kBufferGroup = 1;

// Receive buffers. The kernel is offered at most ring_buffers at a time, in a ring; what comes back goes on a stack, so
// that the most recently used memory is offered first. Chunks are mapped as they are needed and never given back.
class RecvPool {
 public:
  ~RecvPool() {
    for (auto& chunk : chunks_) munmap(chunk.memory, chunk.bytes);
    if (ring_ != nullptr) munmap(ring_, ring_bytes_);
  }

  Result<void> open(io_uring* uring, const UringOptions& options, BackendStats* stats) {
    options_ = options;
    stats_ = stats;
    ring_bytes_ = options.ring_buffers * sizeof(io_uring_buf);
    void* memory = mmap(nullptr, ring_bytes_, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return Error::from_errno(errno, "cannot map the receive buffer ring");
    ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(ring_);
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<uint64_t>(ring_);
    reg.ring_entries = options.ring_buffers;
    reg.bgid = kBufferGroup;
    if (int err = io_uring_register_buf_ring(uring, &reg, 0); err < 0) {
      return Error::from_errno(-err, "cannot register receive buffers (Linux 6.1 or newer is needed)");
    }
    refill();
    return {};
  }

  // Offers free buffers to the kernel up to the ring's size.
  void refill() {
    uint32_t added = 0;
    const int mask = io_uring_buf_ring_mask(options_.ring_buffers);
    while (offered_ < options_.ring_buffers && (!free_.empty() || grow())) {
      const uint32_t id = free_.back();
      free_.pop_back();
      base::Block& block = blocks_[id];
      io_uring_buf_ring_add(ring_, block.data, block.capacity, static_cast<uint16_t>(id), mask,
                            static_cast<int>(added));
      slots_[(tail_ + added) & static_cast<uint32_t>(mask)] = static_cast<uint16_t>(id);
      ++added;
      ++offered_;
    }
    if (added > 0) io_uring_buf_ring_advance(ring_, static_cast<int>(added));
    tail_ += added;
  }

  // The kernel filled `bytes` starting with buffer `id`; with bundles it goes on with those offered after it.
  void take(uint16_t id, uint32_t bytes, base::Buffer& out) {
    const uint32_t mask = options_.ring_buffers - 1;
    while (true) {
      base::Block& block = blocks_[id];
      const uint32_t part = std::min(bytes, block.capacity);
      --offered_;
      ++head_;
      ++stats_->buffers_out;
      out.append(base::BlockRef(&block), block.data, block.data + part);
      bytes -= part;
      if (bytes == 0) return;
      id = slots_[head_ & mask];
    }
  }

  uint32_t offered() const { return offered_; }

 private:
  struct Chunk { void* memory; size_t bytes; };

  static void release(base::Block* block) {
    auto* pool = static_cast<RecvPool*>(block->owner);
    --pool->stats_->buffers_out;
    pool->free_.push_back(static_cast<uint16_t>(block->id));
  }

  bool grow() {
    const uint32_t count = options_.ring_buffers;
    const size_t bytes = static_cast<size_t>(count) * options_.buffer_bytes;
    if (stats_->buffer_bytes + bytes > options_.buffer_bytes_max && stats_->buffer_bytes > 0) return false;
    if (blocks_used_ + count > kBlocksMax) return false;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    chunks_.push_back({memory, bytes});
    stats_->buffer_bytes += bytes;
    if (blocks_ == nullptr) {
      blocks_ = std::make_unique<base::Block[]>(
          std::min<size_t>(kBlocksMax, options_.buffer_bytes_max / options_.buffer_bytes + count));
      slots_.resize(options_.ring_buffers);
    }
    for (uint32_t i = count; i-- > 0;) {
      base::Block& block = blocks_[blocks_used_ + i];
      block.data = static_cast<uint8_t*>(memory) + static_cast<size_t>(i) * options_.buffer_bytes;
      block.capacity = options_.buffer_bytes;
      block.id = blocks_used_ + i;
      block.owner = this;
      block.release = &RecvPool::release;
      free_.push_back(static_cast<uint16_t>(block.id));
    }
    blocks_used_ += count;
    return true;
  }

  static constexpr uint32_t kBlocksMax = 65536;  // buffer ids are 16 bits
  UringOptions options_;
  BackendStats* stats_ = nullptr;
  io_uring_buf_ring* ring_ = nullptr;
  size_t ring_bytes_ = 0;
  std::vector<Chunk> chunks_;
  std::unique_ptr<base::Block[]> blocks_;
  uint32_t blocks_used_ = 0;
  std::vector<uint16_t> free_;
  std::vector<uint16_t> slots_;  // ids in the order in which they were offered
  uint32_t offered_ = 0;
  uint32_t head_ = 0, tail_ = 0;
};

class UringBackend final : public Backend {
 public:
  explicit UringBackend(const UringOptions& options) : options_(options) {}
  ~UringBackend() override {
    if (ring_open_) io_uring_queue_exit(&ring_);
    if (wake_fd_ >= 0) ::close(wake_fd_);
    abandon(wake_op_);
  }

  Result<void> open();

  base::MonotonicTime now() override { return base::Clock::now(); }
  base::SystemTime system_now() override { return std::chrono::system_clock::now(); }

  void accept(Operation& op, int fd) override {
    begin(op, fd, kPlain);
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, fd, nullptr, nullptr, SOCK_CLOEXEC);
    tag(sqe, op);
  }

  int accept_now(int fd) override {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return -EAGAIN;
    const int flags = ::fcntl(fd, F_GETFL);
    (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);  // another process may share the socket and be quicker
    const int accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    return accepted >= 0 ? accepted : -errno;
  }

  void recv(Operation& op, int fd) override {
    begin(op, fd, kRecv);
    submit_recv(op);
  }

  void send(Operation& op, int fd, std::span<const iovec> vectors, bool more) override;

  void connect(Operation& op, int fd, const sockaddr* address, socklen_t length) override {
    begin(op, fd, kPlain);
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_connect(sqe, fd, address, length);
    tag(sqe, op);
  }

  void poll(Operation& op, int fd, uint32_t events) override {
    begin(op, fd, kPlain);
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_poll_add(sqe, fd, events);
    tag(sqe, op);
  }

  void cancel(Operation& op) override;

  Result<int> open_socket(int family) override {
    const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return Error::from_errno(errno, "cannot create a socket");
    return fd;
  }
  Result<void> bind(int fd, const sockaddr* address, socklen_t length) override {
    if (::bind(fd, address, length) != 0) return Error::from_errno(errno, "cannot bind");
    return {};
  }
  void set_option(int fd, int level, int name, const void* value, socklen_t length) override {
    (void)::setsockopt(fd, level, name, value, length);
  }
  socklen_t local_address(int fd, sockaddr_storage& address) override {
    socklen_t length = sizeof address;
    return ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 ? length : 0;
  }
  socklen_t remote_address(int fd, sockaddr_storage& address) override {
    socklen_t length = sizeof address;
    return ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 ? length : 0;
  }
  socklen_t original_destination(int fd, int family, sockaddr_storage& address) override {
    constexpr int kOriginalDst = 80;  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of linux/netfilter*
    socklen_t length = sizeof address;
    const int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    return ::getsockopt(fd, level, kOriginalDst, &address, &length) == 0 ? length : 0;
  }
  size_t unread(int fd) override {
    int bytes = 0;
    return ::ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
  }
  void shutdown_write(int fd) override { ::shutdown(fd, SHUT_WR); }
  void close(int fd, bool reset) override {
    if (reset) {
      const linger hard{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_close(sqe, fd);
    io_uring_sqe_set_data64(sqe, kIgnore);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }

  void wait(base::nanoseconds timeout) override;
  void deliver() override;
  void wake() override {
    const uint64_t one = 1;
    (void)!::write(wake_fd_, &one, sizeof one);
  }
  const BackendStats& stats() const override { return stats_; }

 private:
  io_uring_sqe* next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {  // the queue is full: hand it over now
      ++stats_.submissions;
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }
  static void tag(io_uring_sqe* sqe, Operation& op) {
    io_uring_sqe_set_data64(sqe, reinterpret_cast<uint64_t>(&op) | kind_of(op));
  }
  void submit_recv(Operation& op) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, fd_of(op), nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = kBufferGroup;
    if (bundles_) sqe->ioprio |= kRecvSendBundle;
    tag(sqe, op);
  }
  void wait_for_several(const __kernel_timespec* limit);
  void arm_wake();
  void on_wake(const Completion&);
  void on_recv(Operation* op, const io_uring_cqe& cqe);
  Result<void> probe_bundles();

  io_uring ring_{};
  bool ring_open_ = false;
  bool bundles_ = false;
  bool moderated_ = false;  // the kernel can
  int wake_fd_ = -1;
  uint64_t wake_value_ = 0;
  Op<&UringBackend::on_wake> wake_op_{*this};
  const UringOptions options_;
  WakeupModeration moderation_{options_.moderation};
  RecvPool pool_;
  BackendStats stats_;
  std::vector<Operation*> starved_;    // recv operations that wait for a buffer (ENOBUFS ended them)
  std::vector<Operation*> abandoned_;  // of those: cancelled meanwhile
  std::deque<SendSlot> send_slots_;    // message headers of this turn's sends
  size_t send_slots_used_ = 0;
  base::Buffer received_;
};

Error refusal(int err) {
  std::string why;
  switch (err) {
    case EPERM:
    case EACCES:
      why =
          "io_uring is refused here: allow it (sysctl kernel.io_uring_disabled=0, and io_uring_setup in the "
          "container's "
          "seccomp profile)";
      break;
    case ENOSYS: why = "this kernel has no io_uring, or seccomp hides it: Linux 6.1 or newer is needed"; break;
    case EINVAL: why = "this kernel's io_uring is too old: Linux 6.1 or newer is needed"; break;
    default: why = "cannot set up io_uring"; break;
  }
  return Error{ErrorCode::kUnsupported, Side::kInternal, err, why};
}

Result<void> UringBackend::open() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = options_.entries * 8;
  if (int err = io_uring_queue_init_params(options_.entries, &ring_, &params); err < 0) return refusal(-err);
  ring_open_ = true;
  moderated_ = (params.features & kFeatMinTimeout) != 0;
  (void)io_uring_register_ring_fd(&ring_);
  if (Result<void> opened = pool_.open(&ring_, options_, &stats_); !opened.ok()) return opened;
  wake_fd_ = eventfd(0, EFD_CLOEXEC);
  if (wake_fd_ < 0) return Error::from_errno(errno, "cannot create an eventfd");
  bundles_ = options_.bundles && probe_bundles().ok();
  arm_wake();
  return {};
}

// A flag of recv has no probe but a trial: receive across a socket pair with it.
Result<void> UringBackend::probe_bundles() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return Error::from_errno(errno, "socketpair");
  (void)!::write(pair[1], "x", 1);
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv_multishot(sqe, pair[0], nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kBufferGroup;
  sqe->ioprio |= kRecvSendBundle;
  io_uring_sqe_set_data64(sqe, kIgnore);
  bool works = false, ended = false;
  ::shutdown(pair[1], SHUT_WR);
  for (int i = 0; i < 4 && !ended; ++i) {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec limit{1, 0};
    if (io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr) < 0 && cqe == nullptr) break;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
      if (cqe->res == 1 && (cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        works = true;
        base::Buffer scratch;
        pool_.take(static_cast<uint16_t>(cqe->flags >> IORING_CQE_BUFFER_SHIFT), 1, scratch);
      }
      ended = (cqe->flags & IORING_CQE_F_MORE) == 0;
      io_uring_cqe_seen(&ring_, cqe);
    }
  }
  ::close(pair[0]);
  ::close(pair[1]);
  pool_.refill();
  if (!works) return Error{ErrorCode::kUnsupported, Side::kInternal, 0, "no receive bundles"};
  return {};
}

void UringBackend::arm_wake() {
  begin(wake_op_, wake_fd_, kPlain);
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_read(sqe, wake_fd_, &wake_value_, sizeof wake_value_, 0);
  tag(sqe, wake_op_);
}

void UringBackend::on_wake(const Completion&) { arm_wake(); }

void UringBackend::send(Operation& op, int fd, std::span<const iovec> vectors, bool more) {
  begin(op, fd, kPlain);
  const int flags = MSG_NOSIGNAL | MSG_WAITALL | (more ? MSG_MORE : 0);
  io_uring_sqe* sqe = next_sqe();
  if (vectors.size() == 1) {
    io_uring_prep_send(sqe, fd, vectors[0].iov_base, vectors[0].iov_len, flags);
    tag(sqe, op);
    return;
  }
  // The kernel copies header and vectors when the request is submitted, which is at the end of the turn.
  MILLRACE_ASSERT(vectors.size() <= kSendVectorsMax);
  if (send_slots_used_ == send_slots_.size()) send_slots_.emplace_back();
  SendSlot& slot = send_slots_[send_slots_used_++];
  std::copy(vectors.begin(), vectors.end(), slot.vectors);
  slot.header = {};
  slot.header.msg_iov = slot.vectors;
  slot.header.msg_iovlen = vectors.size();
  io_uring_prep_sendmsg(sqe, fd, &slot.header, flags);
  tag(sqe, op);
}

void UringBackend::cancel(Operation& op) {
  if (auto at = std::find(starved_.begin(), starved_.end(), &op); at != starved_.end()) {
    starved_.erase(at);
    abandoned_.push_back(&op);
    wake();
    return;
  }
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_cancel64(sqe, reinterpret_cast<uint64_t>(&op) | kind_of(op), 0);
  io_uring_sqe_set_data64(sqe, kIgnore);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void UringBackend::wait(base::nanoseconds timeout) {
  pool_.refill();
  if (!starved_.empty() && pool_.offered() > 0) {
    for (Operation* op : starved_) submit_recv(*op);
    starved_.clear();
  }
  ++stats_.submissions;
  const bool endless = timeout == base::nanoseconds::max();
  __kernel_timespec limit{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
  if (moderated_ && moderation_.active() && timeout > moderation_.options().wait) {
    wait_for_several(endless ? nullptr : &limit);
  } else if (endless) {
    io_uring_submit_and_wait(&ring_, 1);
  } else {
    io_uring_cqe* cqe = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
  }
  // An interrupted or refused submission (EINTR, EBUSY) leaves entries behind, whose headers must stay.
  if (io_uring_sq_ready(&ring_) == 0) send_slots_used_ = 0;
}

// Debian 12's liburing cannot ask for it, so this costs a system call more than the other waits.
void UringBackend::wait_for_several(const __kernel_timespec* limit) {
  const WakeupModerationOptions& options = moderation_.options();
  if (io_uring_sq_ready(&ring_) > 0) io_uring_submit(&ring_);
  GetEventsArg arg{0, _NSIG / 8, static_cast<uint32_t>(options.wait.count() / 1000),
                   reinterpret_cast<uint64_t>(limit)};
  (void)::syscall(__NR_io_uring_enter, ring_.ring_fd, 0, options.completions,
                  IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
}

void UringBackend::deliver() {
  if (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) {
    ++stats_.cq_overflows;
    io_uring_get_events(&ring_);
  }
  unsigned head, seen = 0;
  io_uring_cqe* slot;
  io_uring_for_each_cqe(&ring_, head, slot) {
    const io_uring_cqe cqe = *slot;
    ++seen;
    if ((cqe.user_data & ~static_cast<uint64_t>(kKindMask)) == kIgnore) continue;
    auto* op = reinterpret_cast<Operation*>(cqe.user_data & ~static_cast<uint64_t>(kKindMask));
    if ((cqe.user_data & kKindMask) == kRecv) {
      on_recv(op, cqe);
    } else {
      complete(op, Completion{cqe.res, (cqe.flags & IORING_CQE_F_MORE) != 0, nullptr});
    }
  }
  io_uring_cq_advance(&ring_, seen);
  stats_.completions += seen;
  if (moderation_.on_turn(seen)) moderation_.decide(now());
  while (!abandoned_.empty()) {
    Operation* op = abandoned_.back();
    abandoned_.pop_back();
    complete(op, Completion{-ECANCELED, false, &received_});
  }
}

void UringBackend::on_recv(Operation* op, const io_uring_cqe& cqe) {
  const int32_t result = cqe.res;
  const bool more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    pool_.take(static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT),
               static_cast<uint32_t>(std::max(result, 0)), received_);
  }
  if (result == -ENOBUFS && !more) {
    ++stats_.buffers_exhausted;
    starved_.push_back(op);
    return;
  }
  // A sockmap's member was woken without data; of other sockets io_uring keeps this to itself.
  if (result == -EAGAIN && !more) return submit_recv(*op);
  complete(op, Completion{result, more, &received_});
  received_.clear();
}

}  // namespace

Result<std::unique_ptr<Backend>> make_uring_backend(const UringOptions& options) {
  auto backend = std::make_unique<UringBackend>(options);
  if (Result<void> opened = backend->open(); !opened.ok()) return opened.error();
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace millrace::io
