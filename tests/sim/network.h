// A simulated network behind io::Backend: virtual time, sockets in memory, faults and orders drawn from one
// seed. What the daemon does goes through the Backend; the outside world (clients, upstream servers) are Peers,
// called while the backend waits, that is never from within the daemon's code. One thread, no system call; the
// same seed gives the same run.
//
// A socket has a window: bytes on their way to it and those it has not read are never more, so a slow reader
// stops its sender. Bytes, FIN and RST of one direction arrive in order; nothing else has an order. As in
// Linux: what arrived before an RST can still be read, the error goes to whoever asks first, closing on unread
// bytes resets.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "base/prng.h"
#include "io/backend.h"
#include "net/address.h"

namespace millrace::sim {

// How the network misbehaves. Chances are per 10,000.
struct Faults {
  uint32_t connect_refused = 0;
  uint32_t connect_hangs = 0;       // until cancelled
  uint32_t connect_unreachable = 0;
  uint32_t reset = 0;               // of a connection, at each arrival of bytes
  uint32_t accept_fails = 0;        // EMFILE, ECONNABORTED, ...
  uint32_t socket_fails = 0;        // EMFILE
  // These cost time and change orders, and break nothing.
  uint32_t stalls = 0;              // a receive waits for a buffer, a send for its turn
  uint32_t tiny = 0;                // a completion or an arrival carries a few bytes only
  uint32_t multishot_ends = 0;      // a multishot receive stops with data and without an error
  base::microseconds latency_max{2'000};
  size_t window_min = 2 * 1024, window_max = 128 * 1024;
};

// The outside end of a connection.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual void on_connected() {}
  // Bytes wait, take them with read().
  virtual void on_readable() = 0;
  // All bytes were read and the other side sends no more.
  virtual void on_end() = 0;
  virtual void on_reset() = 0;
  // Everything written is on its way.
  virtual void on_drained() {}
};

class Network final : public io::Backend {
 public:
  Network(uint64_t seed, const Faults& faults) : prng_(seed), faults_(faults) {}
  ~Network() override;

  // ---- the daemon's
  base::MonotonicTime now() override { return now_; }
  base::SystemTime system_now() override { return base::SystemTime(std::chrono::hours(24 * 365 * 50)) + elapsed(); }
  void accept(io::Operation& op, int fd) override;
  int accept_now(int fd) override;
  void recv(io::Operation& op, int fd) override;
  void send(io::Operation& op, int fd, std::span<const iovec> vectors, bool more) override;
  void connect(io::Operation& op, int fd, const sockaddr* address, socklen_t length) override;
  void poll(io::Operation& op, int fd, uint32_t events) override;
  void cancel(io::Operation& op) override;
  base::Result<int> open_socket(int family) override;
  base::Result<void> bind(int fd, const sockaddr* address, socklen_t length) override;
  void set_option(int, int, int, const void*, socklen_t) override {}
  socklen_t local_address(int fd, sockaddr_storage& address) override;
  socklen_t remote_address(int fd, sockaddr_storage& address) override;
  void shutdown_write(int fd) override;
  void close(int fd, bool reset) override;
  void wait(base::nanoseconds timeout) override;
  void deliver() override;
  void wake() override {}
  const io::BackendStats& stats() const override { return stats_; }

  // ---- the test's
  // A listening socket of the daemon.
  int listen(const net::Address& address);
  // Sockets the daemon has open, and received bytes it holds on to.
  size_t open_sockets() const;
  size_t held_bytes() const { return held_bytes_; }
  // Nothing is under way and no peer has a timer.
  bool quiet() const { return events_.empty() && completions_.empty(); }
  base::nanoseconds elapsed() const { return now_ - base::MonotonicTime(base::seconds(1'000)); }
  base::Prng& prng() { return prng_; }
  bool chance(uint32_t of_10000) { return of_10000 > 0 && prng_.below(10'000) < of_10000; }
  const Faults& faults() const { return faults_; }
  void set_faults(const Faults& faults) { faults_ = faults; }

  // ---- the world's
  // Connections that ended in a way nobody asked for.
  uint64_t breaks() const { return breaks_; }
  void at(base::nanoseconds after, std::function<void()> what);
  using Socket = uint32_t;  // of a peer; 0 is none
  // Connects to a listener of the daemon. on_connected() or on_reset() follows.
  Socket dial(const net::Address& to, Peer& peer);
  // Who answers at an address; return null to refuse. The peer outlives the network.
  void serve(const net::Address& at, std::function<Peer*(Socket)> accept);
  void write(Socket socket, std::string_view bytes);
  size_t unsent(Socket socket) const;
  size_t readable(Socket socket) const;
  std::string read(Socket socket, size_t max);
  void end(Socket socket);               // FIN once everything is sent
  void hang_up(Socket socket, bool reset);  // no call to the peer follows

 private:
  struct End;
  struct Segment {
    enum class Kind : uint8_t { kBytes, kFin, kReset };
    Kind kind;
    std::string bytes;
  };
  struct Event {
    base::MonotonicTime at;
    uint64_t tie;
    std::function<void()> run;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : tie > other.tie; }
  };
  struct Queued {
    io::Operation* op;
    io::Completion completion;
    base::Buffer received;
  };
  struct Pending {  // an operation in flight
    io::Operation* op = nullptr;
    bool cancelled = false;
    base::MonotonicTime not_before{};
    explicit operator bool() const { return op != nullptr; }
  };
  struct SendVectors {
    std::vector<iovec> vectors;
    size_t index = 0, offset = 0, taken = 0, left = 0;
  };
  // One end of a connection, or a listening socket.
  struct End {
    enum class State : uint8_t { kFresh, kListening, kConnecting, kOpen };
    State state = State::kFresh;
    int fd = -1;             // the daemon's
    Socket socket = 0;       // a peer's
    Peer* peer = nullptr;
    End* other = nullptr;
    sockaddr_storage local{}, remote{};
    socklen_t local_length = 0, remote_length = 0;
    // Towards this end.
    std::deque<Segment> transit;
    size_t transit_bytes = 0;
    base::MonotonicTime last_arrival{};
    std::string inbox;
    size_t window = 0;
    bool fin_arrived = false;
    bool end_told = false;   // to a peer
    int error = 0;
    // From this end.
    bool write_ended = false;
    bool closed = false;     // by its owner
    bool dead = false;       // reset, by either side
    std::string outbox;      // a peer's: not on its way yet
    bool end_after_outbox = false, drained_told = true;
    // Operations.
    Pending receiving, sending, accepting, connecting, polling;
    SendVectors out;
    bool connect_done = false;
    int connect_result = 0;
    std::deque<End*> backlog;
  };

  int take_fd(End& end);
  void start(Pending& pending, io::Operation& op, int fd);
  void receive_some(End& end, bool more);
  static std::string key(const sockaddr* address, socklen_t length);
  End& make_end();
  End& end_of(int fd);
  End& peer_end(Socket socket) { return *ends_[socket - 1]; }
  const End& peer_end(Socket socket) const { return *ends_[socket - 1]; }
  base::nanoseconds latency();
  size_t portion(size_t of);
  void push(End& to, Segment segment);
  void arrive(End& at);
  void reset_arrives(End& at);
  void send_reset(End& from, bool drop_unsent);
  void tell_peer(End& end);
  void pump(End& from);
  void read_happened(End& reader);
  void connect_pair(End& from, End& to);
  void finish_connect(End& from, const std::string& to);
  size_t room(const End& to) const;
  void queue(Pending& pending, int32_t result, bool more, base::Buffer received = {});
  base::BlockRef fill_block(std::string_view bytes);
  static void release_block(base::Block* block);
  bool may_run(Pending& pending);
  bool progress(End& end);
  bool progress_receive(End& end);
  bool progress_send(End& end);
  bool progress_accept(End& end);
  bool progress_connect(End& end);
  bool progress_all(bool all);
  void run_due_events();

  base::Prng prng_;
  Faults faults_;
  base::MonotonicTime now_{base::seconds(1'000)};
  std::vector<std::unique_ptr<End>> ends_;  // all there ever were; Socket is the index + 1
  std::vector<End*> by_fd_;
  std::vector<int> closed_fds_;             // free again at the next wait
  std::map<std::string, int> listeners_;
  std::map<std::string, std::function<Peer*(Socket)>> servers_;
  std::priority_queue<Event> events_;
  std::deque<Queued> completions_;
  io::BackendStats stats_;
  size_t held_bytes_ = 0;
  uint64_t breaks_ = 0;
  uint32_t next_port_ = 20'000;
};

}  // namespace millrace::sim
