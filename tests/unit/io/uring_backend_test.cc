#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/backend.h"

namespace millrace::io {
namespace {

using base::milliseconds;

// An operation that records its completions, and keeps what was received.
struct Recorder {
  void on_complete(const Completion& c) {
    results.push_back(c.result);
    more = c.more;
    if (c.received != nullptr && !c.received->empty()) {
      text += c.received->to_string();
      if (keep) {
        kept.absorb(*c.received);
      } else {
        c.received->clear();
      }
    }
    if (act) act(c);
  }
  bool ended() const { return !results.empty() && !op.in_flight(); }  // may have been armed again
  int last() const { return results.empty() ? 1 << 20 : results.back(); }

  std::vector<int> results;
  bool more = false, keep = false;
  std::string text;
  base::Buffer kept;
  std::function<void(const Completion&)> act;
  Op<&Recorder::on_complete> op{*this};
};

struct Pair {
  Pair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0); }
  ~Pair() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
  void write(std::string_view bytes) { ASSERT_EQ(::write(fds[1], bytes.data(), bytes.size()), ssize_t(bytes.size())); }
  int fds[2];
};

class UringTest : public testing::Test {
 protected:
  void open(UringOptions options = {.entries = 64, .buffer_bytes = 4096, .ring_buffers = 8}) {
    base::Result<std::unique_ptr<Backend>> made = make_uring_backend(options);
    ASSERT_TRUE(made.ok()) << made.error().to_string();
    backend = std::move(*made);
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) {
      backend->wait(base::nanoseconds(0));
      backend->deliver();
    }
  }
  void run_until(const std::function<bool()>& done) {
    const base::MonotonicTime limit = base::Clock::now() + base::seconds(20);
    while (!done()) {
      ASSERT_LT(base::Clock::now(), limit) << "timed out";
      backend->wait(milliseconds(20));
      backend->deliver();
    }
  }
  // Reads on as a connection does: the kernel may end a multishot receive with any bytes it gives.
  void recv_all(Recorder& r, int fd) {
    r.act = [this, &r, fd](const Completion& c) {
      if (!c.more && c.result > 0) backend->recv(r.op, fd);
    };
    backend->recv(r.op, fd);
  }
  int listen_socket(sockaddr_in& address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd, 8), 0);
    socklen_t length = sizeof address;
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return fd;
  }
  std::unique_ptr<Backend> backend;
};

TEST_F(UringTest, CancelEndsWhateverIsInFlightExactlyOnce) {
  open();
  sockaddr_in address;
  const int listener = listen_socket(address);
  Pair pair;
  Recorder accept, recv, poll;
  backend->accept(accept.op, listener);
  backend->recv(recv.op, pair.fds[0]);
  backend->poll(poll.op, pair.fds[0], POLLIN);
  turn(2);
  for (Recorder* r : {&accept, &recv, &poll}) {
    EXPECT_TRUE(r->op.in_flight());
    backend->cancel(r->op);
    backend->cancel(r->op);  // asked twice
  }
  run_until([&] { return accept.ended() && recv.ended() && poll.ended(); });
  turn(3);
  for (Recorder* r : {&accept, &recv, &poll}) {
    EXPECT_EQ(r->results, std::vector<int>{-ECANCELED});
    EXPECT_FALSE(r->op.in_flight());
  }
  ::close(listener);
}

TEST_F(UringTest, AnOperationMayStartAgainFromItsOwnCompletion) {
  open();
  Pair pair;
  Recorder poll;
  poll.act = [&](const Completion&) {
    if (poll.results.size() < 3) backend->poll(poll.op, pair.fds[0], POLLIN);
  };
  pair.write("x");
  backend->poll(poll.op, pair.fds[0], POLLIN);
  run_until([&] { return poll.results.size() == 3; });
  EXPECT_FALSE(poll.op.in_flight());
}

TEST_F(UringTest, ReceivesUntilTheEndOfTheStream) {
  open();
  Pair pair;
  Recorder recv;
  backend->recv(recv.op, pair.fds[0]);
  pair.write("one");
  run_until([&] { return recv.text == "one"; });
  EXPECT_TRUE(recv.more);
  pair.write("two");
  run_until([&] { return recv.text == "onetwo"; });
  ::shutdown(pair.fds[1], SHUT_WR);
  run_until([&] { return recv.ended(); });
  EXPECT_EQ(recv.last(), 0);
  EXPECT_EQ(backend->stats().buffers_out, 0u);
}

// Bytes over several buffers arrive whole and in order, whether one completion tells of one buffer or of many.
TEST_F(UringTest, BytesOverManyBuffersKeepTheirOrderWithAndWithoutBundles) {
  for (bool bundles : {true, false}) {
    SCOPED_TRACE(bundles);
    open({.entries = 16, .buffer_bytes = 512, .ring_buffers = 4, .bundles = bundles});
    Pair a, b;
    Recorder from_a, from_b;
    recv_all(from_a, a.fds[0]);
    recv_all(from_b, b.fds[0]);
    std::string sent_a, sent_b;
    for (int i = 0; i < 60; ++i) {
      const std::string part(static_cast<size_t>(1 + i * 37 % 1500), static_cast<char>('a' + i % 26));
      a.write(part);
      b.write(part + "!");
      sent_a += part;
      sent_b += part + "!";
      if (i % 5 == 0) turn();
    }
    ::shutdown(a.fds[1], SHUT_WR);
    ::shutdown(b.fds[1], SHUT_WR);
    run_until([&] { return from_a.ended() && from_b.ended(); });
    EXPECT_TRUE(from_a.text == sent_a);
    EXPECT_TRUE(from_b.text == sent_b);
    EXPECT_EQ(backend->stats().buffers_out, 0u);
    backend.reset();
  }
}

TEST_F(UringTest, ReadingWaitsWhileEveryBufferIsOutAndGoesOnWhenOneReturns) {
  open({.entries = 16, .buffer_bytes = 4096, .ring_buffers = 4, .buffer_bytes_max = 4 * 4096});
  Pair pair;
  Recorder recv;
  recv.keep = true;
  recv_all(recv, pair.fds[0]);
  const std::string sent(6 * 4096, 'q');
  pair.write(sent);
  run_until([&] { return backend->stats().buffers_exhausted > 0; });
  EXPECT_EQ(recv.text.size(), 4u * 4096);
  EXPECT_EQ(backend->stats().buffers_out, 4u);
  EXPECT_TRUE(recv.op.in_flight());
  turn(3);
  EXPECT_EQ(recv.text.size(), 4u * 4096);
  recv.keep = false;
  recv.kept.clear();
  run_until([&] { return recv.text.size() == sent.size(); });
  EXPECT_TRUE(recv.text == sent);
  backend->cancel(recv.op);
  run_until([&] { return !recv.op.in_flight(); });
}

TEST_F(UringTest, CancelReachesARecvThatWaitsForABuffer) {
  open({.entries = 16, .buffer_bytes = 4096, .ring_buffers = 4, .buffer_bytes_max = 4 * 4096});
  Pair pair;
  Recorder recv;
  recv.keep = true;
  recv_all(recv, pair.fds[0]);
  pair.write(std::string(5 * 4096, 'q'));
  run_until([&] { return backend->stats().buffers_exhausted > 0; });
  backend->cancel(recv.op);
  EXPECT_TRUE(recv.op.in_flight());  // never from within cancel()
  run_until([&] { return !recv.op.in_flight(); });
  EXPECT_EQ(recv.last(), -ECANCELED);
  recv.kept.clear();
  turn(3);
  EXPECT_FALSE(recv.op.in_flight());
  // The bytes that were not read are still there.
  Recorder rest;
  recv_all(rest, pair.fds[0]);
  run_until([&] { return rest.text.size() == 4096; });
  backend->cancel(rest.op);
  run_until([&] { return !rest.op.in_flight(); });
}

// The completion queue of this ring has 32 places.
TEST_F(UringTest, MoreCompletionsThanTheQueueHoldsAreAllDelivered) {
  open({.entries = 4, .buffer_bytes = 4096, .ring_buffers = 4});
  constexpr size_t kCount = 300;
  Pair pair;
  pair.write("ready");
  std::vector<std::unique_ptr<Recorder>> polls;
  for (size_t i = 0; i < kCount; ++i) {
    polls.push_back(std::make_unique<Recorder>());
    backend->poll(polls.back()->op, pair.fds[0], POLLIN);
  }
  run_until([&] {
    for (auto& p : polls) if (p->op.in_flight()) return false;
    return true;
  });
  for (auto& p : polls) EXPECT_EQ(p->results.size(), 1u);
  EXPECT_GT(backend->stats().cq_overflows, 0u);
}

TEST_F(UringTest, NoByteIsLostWhenTheCompletionQueueOverflows) {
  open({.entries = 4, .buffer_bytes = 1024, .ring_buffers = 16});
  constexpr size_t kCount = 100;
  struct Peer {
    Pair pair;
    Recorder recv;
  };
  std::vector<std::unique_ptr<Peer>> peers;
  for (size_t i = 0; i < kCount; ++i) {
    peers.push_back(std::make_unique<Peer>());
    Peer& p = *peers.back();
    recv_all(p.recv, p.pair.fds[0]);
  }
  turn(2);
  for (int round = 0; round < 3; ++round) {
    for (auto& p : peers) p->pair.write(std::string(700, static_cast<char>('a' + round)));
    turn();
  }
  for (auto& p : peers) ::shutdown(p->pair.fds[1], SHUT_WR);
  run_until([&] {
    for (auto& p : peers) if (!p->recv.ended()) return false;
    return true;
  });
  const std::string whole = std::string(700, 'a') + std::string(700, 'b') + std::string(700, 'c');
  for (auto& p : peers) {
    EXPECT_TRUE(p->recv.text == whole);
    EXPECT_EQ(p->recv.last(), 0);
  }
  EXPECT_EQ(backend->stats().buffers_out, 0u);
}

TEST_F(UringTest, SendsAllVectorsWithOneCompletionHoweverSlowTheReader) {
  open();
  sockaddr_in address;
  const int listener = listen_socket(address);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const int server = ::accept(listener, nullptr, nullptr);
  std::vector<std::string> parts;
  std::vector<iovec> vectors;
  std::string whole;
  for (size_t i = 0; i < kSendVectorsMax; ++i) {
    parts.emplace_back(100'000 + i, static_cast<char>('a' + i % 26));
    whole += parts.back();
  }
  for (std::string& part : parts) vectors.push_back({part.data(), part.size()});
  Recorder send;
  backend->send(send.op, client, vectors, false);
  vectors.clear();  // the array need not stay
  std::string received;
  std::vector<char> chunk(64 * 1024);
  run_until([&] {
    ssize_t n;
    while ((n = ::recv(server, chunk.data(), chunk.size(), MSG_DONTWAIT)) > 0) received.append(chunk.data(), size_t(n));
    return received.size() == whole.size();
  });
  run_until([&] { return send.ended(); });
  EXPECT_EQ(send.results, std::vector<int>{static_cast<int>(whole.size())});
  EXPECT_TRUE(received == whole);
  for (int fd : {listener, client, server}) ::close(fd);
}

TEST_F(UringTest, ManySendsOfOneTurnKeepTheirVectorsApart) {
  open({.entries = 4, .buffer_bytes = 4096, .ring_buffers = 4});  // the submission queue fills within the turn
  struct Sender {
    Pair pair;
    Recorder send;
    std::string a, b;
  };
  std::vector<std::unique_ptr<Sender>> senders;
  for (int i = 0; i < 50; ++i) {
    senders.push_back(std::make_unique<Sender>());
    Sender& s = *senders.back();
    s.a = "first " + std::to_string(i);
    s.b = " second " + std::to_string(i);
    const iovec vectors[] = {{s.a.data(), s.a.size()}, {s.b.data(), s.b.size()}};
    backend->send(s.send.op, s.pair.fds[0], vectors, false);
  }
  run_until([&] {
    for (auto& s : senders) if (!s->send.ended()) return false;
    return true;
  });
  for (auto& s : senders) {
    char bytes[64];
    const ssize_t n = ::read(s->pair.fds[1], bytes, sizeof bytes);
    ASSERT_GT(n, 0);
    EXPECT_EQ(std::string(bytes, static_cast<size_t>(n)), s->a + s->b);
  }
}

TEST_F(UringTest, SendToAPeerThatIsGoneFailsWithoutASignal) {
  open();
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  ::close(fds[1]);
  std::string text = "x";
  const iovec one{text.data(), 1};
  Recorder send;
  backend->send(send.op, fds[0], {&one, 1}, false);
  run_until([&] { return send.ended(); });
  EXPECT_EQ(send.last(), -EPIPE);
  ::close(fds[0]);
}

TEST_F(UringTest, AcceptsOneByOneAndAtOnce) {
  open();
  sockaddr_in address;
  const int listener = listen_socket(address);
  EXPECT_EQ(backend->accept_now(listener), -EAGAIN);
  Recorder accept, connect;
  const int client = *backend->open_socket(AF_INET);
  backend->connect(connect.op, client, reinterpret_cast<sockaddr*>(&address), sizeof address);
  run_until([&] { return connect.ended(); });
  EXPECT_EQ(connect.last(), 0);
  const int first = backend->accept_now(listener);
  EXPECT_GE(first, 0);
  // The multishot accept still works on the socket that accept_now() has touched, and waits.
  backend->accept(accept.op, listener);
  turn(3);
  EXPECT_TRUE(accept.op.in_flight());
  EXPECT_TRUE(accept.results.empty());
  const int second_client = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(second_client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  run_until([&] { return !accept.results.empty(); });
  EXPECT_GE(accept.last(), 0);
  backend->cancel(accept.op);
  const int second = accept.last();
  run_until([&] { return accept.ended(); });
  for (int fd : {listener, client, first, second_client, second}) ::close(fd);
}

TEST_F(UringTest, ConnectReportsARefusal) {
  open();
  sockaddr_in address;
  ::close(listen_socket(address));
  Recorder connect;
  const int fd = *backend->open_socket(AF_INET);
  backend->connect(connect.op, fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  run_until([&] { return connect.ended(); });
  EXPECT_EQ(connect.last(), -ECONNREFUSED);
  backend->close(fd);
  turn();
}

TEST_F(UringTest, CloseWithResetIsSeenAsAReset) {
  open();
  sockaddr_in address;
  const int listener = listen_socket(address);
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const int server = ::accept(listener, nullptr, nullptr);
  backend->close(server, true);
  turn(2);
  char byte;
  EXPECT_EQ(::recv(client, &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  ::close(client);
  ::close(listener);
}

// What make_uring_backend() says in a process whose seccomp filter answers io_uring_setup with `error`.
std::string refusal_sentence(int error) {
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  const pid_t child = fork();
  if (child == 0) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof program / sizeof program[0], program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(1);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(2);
    base::Result<std::unique_ptr<Backend>> backend = make_uring_backend({});
    if (backend.ok() || backend.error().code != base::ErrorCode::kUnsupported) _exit(3);
    const std::string text = backend.error().to_string();
    _exit(::write(out[1], text.data(), text.size()) > 0 ? 0 : 4);
  }
  ::close(out[1]);
  std::string text(1000, '\0');
  const ssize_t n = ::read(out[0], text.data(), text.size());
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  ::close(out[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return text;
}

TEST(UringRefusal, SaysWhatToAllowWhenTheSystemForbidsIt) {
  const std::string text = refusal_sentence(EPERM);
  EXPECT_NE(text.find("io_uring is refused here"), std::string::npos) << text;
  EXPECT_NE(text.find("kernel.io_uring_disabled"), std::string::npos) << text;
  EXPECT_NE(text.find("seccomp"), std::string::npos) << text;
}

TEST(UringRefusal, SaysWhichKernelIsNeededWhenThereIsNoneOrAnOldOne) {
  for (int error : {ENOSYS, EINVAL}) {
    const std::string text = refusal_sentence(error);
    EXPECT_NE(text.find("Linux 6.1 or newer"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace millrace::io
