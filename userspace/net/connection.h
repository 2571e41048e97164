// One stream socket, on one worker, from accept or connect to close. Reads with a multishot receive into blocks of the
// ring's pool, writes with one send in flight at a time, gathered once at the end of the loop turn. Reports to one
// handler. May carry a Transport (TLS): the handler sees plain bytes, and nothing before the handshake is over.
//
//   kConnecting --connected--> kOpen --close(kFlush)--> kFlushing --flushed, peer gone, delay over--> kClosing --> gone
//     |  \____________failed or close()___/|_______________\______close(kNow|kReset)________________/
//     \--> kHandshaking --established-----/   (with a transport only)
//
// Handshake steps are the loop's heavy steps, so that a flood of them does not stall others. A transport that fails,
// and one that is closed in peace, gets to say so (an alert, close_notify) before the socket is closed.
// Half-close: an end of stream from the peer is data with end_stream; ours is write() with end_stream. Back-pressure:
// the handler is told when the bytes waiting to be sent rise above the high watermark and when they fall to half of it;
// it answers by pause_reading() on the connection that feeds this one. Reading ahead while paused is limited to what
// the kernel had under way.
// Ownership: the handler's owner holds it until close(), which takes it: the connection
// cancels what is in flight, closes the descriptor and retires itself. The handler gets no call after close(), nor
// after on_error() returns. Failures are reported at the end of the turn.
#pragma once
#include <cstdint>
#include <memory>

#include "base/buffer.h"
#include "base/list.h"
#include "base/result.h"
#include "io/loop.h"
#include "net/address.h"
#include "net/socket.h"
#include "net/transport.h"
#include "stats/stats.h"

namespace millrace::net {

class Connection;

class ConnectionHandler {
 public:
  // Connected and, with a transport, established.
  virtual void on_connected(Connection&) {}
  // data: everything received and not consumed yet; take what you can, the rest stays. end_stream: the peer will send
  // no more. Called again only when more arrives, or after redeliver().
  virtual void on_data(Connection& connection, base::Buffer& data, bool end_stream) = 0;
  virtual void on_above_high_watermark(Connection&) {}
  virtual void on_below_low_watermark(Connection&) {}
  // All that was written has been taken by the kernel. Called when asked for by notify_drained().
  virtual void on_drained(Connection&) {}
  // The connection failed (reset, refused, timed out while connecting); close() it. Called once.
  virtual void on_error(Connection& connection, const base::Error& error) = 0;

 protected:
  ~ConnectionHandler() = default;
};

enum class CloseMode : uint8_t {
  kNow,         // what is not yet sent is dropped
  kReset,       // as kNow, and the peer sees RST
  kFlush,       // sends everything first
  kFlushDelay,  // ... then FIN, and waits for the peer's FIN up to the delay: a peer that still sends gets to read the
                // answer
};

struct ConnectOptions {
  base::milliseconds timeout{5000};
  Address bind_address;  // empty: the system's choice
  const TcpKeepalive* keepalive = nullptr;
  const std::vector<SocketOption>* socket_options = nullptr;
  const TransportFactory* transport = nullptr;  // null: plain. The timeout covers the handshake as well
  TransportFactory::Ask transport_ask;
};

// What a client said of itself before anybody answered, as listener filters read it from its first bytes.
struct ClientHints {
  std::string transport_protocol;                   // "tls", "raw_buffer"; empty: nobody looked
  std::string server_name;                          // SNI in lower case
  std::vector<std::string> application_protocols;   // ALPN, in the client's order
  std::string ja3, ja4;
};

// Counts delayed closes that their timer ended, not the peer. Connections outlive whoever closed them: those still
// closing when this goes are not counted.
class DelayedCloseCounter {
 public:
  DelayedCloseCounter(stats::StatShard& stats, uint16_t index) : stats_(stats), index_(index) {}

 private:
  friend class Connection;
  stats::StatShard& stats_;
  const uint16_t index_;
  base::List<Connection> closing_;
};

class Connection final : public io::Retired, private base::ListHook<> {
 public:
  // An accepted socket. set_handler(), then start(). local: what the listener is bound to, if it is one address; it
  // spares asking the kernel and must outlive the connection.
  static std::unique_ptr<Connection> accepted(io::Loop& loop, int fd, const Address* local = nullptr);
  // Begins to connect; on_connected() or on_error() follows, never from within this call. Bytes may be written at once.
  static std::unique_ptr<Connection> connect(io::Loop& loop, const Address& to, const ConnectOptions& options,
                                             ConnectionHandler& handler);
  ~Connection() override;

  // Of an accepted connection, before the start() that is to begin the handshake: on_connected() or on_error() follows.
  // What was read so far is the client's first flight. timeout: zero is none.
  void secure(std::unique_ptr<Transport> transport, base::milliseconds timeout);
  // Begins to read; what a handler before this one has left is delivered again.
  void start();
  void set_handler(ConnectionHandler& handler) { handler_ = &handler; }

  // Takes the bytes. end_stream: FIN once they are sent; nothing may be written after.
  void write(base::Buffer& data, bool end_stream = false);
  void write(std::string_view bytes);
  // For serialising straight into the output: append, then call wrote().
  base::Buffer& output() { return out_; }
  void wrote() { schedule_flush(); check_high_watermark(); }
  size_t unsent() const { return out_.size(); }  // plain bytes; what a transport has taken counts as sent
  bool write_ended() const { return end_written_; }
  void set_watermark(size_t high_bytes) { high_watermark_ = high_bytes; }
  bool above_high_watermark() const { return above_high_; }
  void notify_drained() { notify_drained_ = true; schedule_flush(); }

  // Nested: reading goes on when every pause was resumed. Bytes that arrived meanwhile are delivered then.
  void pause_reading();
  void resume_reading();
  bool reading_paused() const { return pauses_ > 0; }
  // Calls on_data() at the end of the turn with what was left unconsumed (or the end of stream).
  void redeliver();
  // What was received and not consumed.
  base::Buffer& input() { return in_; }
  bool read_ended() const { return read_ended_ && (security_ == nullptr || all_decrypted()); }

  static void close(std::unique_ptr<Connection> connection, CloseMode mode,
                    base::milliseconds delay = base::milliseconds(1000), DelayedCloseCounter* counter = nullptr);

  int fd() const { return fd_; }
  io::Loop& loop() { return loop_; }
  bool connecting() const { return state_ == State::kConnecting || state_ == State::kHandshaking; }
  bool secured() const { return security_ != nullptr; }
  // ALPN; empty: none.
  std::string_view negotiated_protocol() const;
  // Null on a plain connection.
  std::shared_ptr<const TransportFacts> transport_facts() const;
  // Of a connection with a transport: when its handshake began, and ended.
  base::MonotonicTime handshake_start() const;
  base::MonotonicTime established_at() const;
  // The stream of the peer ended without its transport saying so: somebody may have cut it short.
  bool read_truncated() const;
  const ClientHints* client_hints() const { return hints_.get(); }  // null: no filter looked
  ClientHints& make_client_hints();
  const Address& remote_address();
  // What the client meant to reach: the socket's own address, unless another was restored.
  const Address& local_address();
  const Address& direct_local_address();  // the socket's own
  // For a connection that was redirected on its way to `address`. Before anybody asks for local_address().
  void restore_local_address(const Address& address) { restored_ = std::make_unique<Address>(address); }
  bool local_address_restored() const { return restored_ != nullptr; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t bytes_sent() const { return bytes_sent_; }
  // For a socket that gets bytes past TCP: closed over unread ones it is reset, as TCP does of itself for its own.
  void reset_over_unread() { reset_over_unread_ = true; }
  // Connections alive on this thread, those closing included.
  static size_t alive();

 private:
  friend class base::List<Connection>;
  friend class base::ListHook<>;
  enum class State : uint8_t { kConnecting, kHandshaking, kOpen, kFlushing, kClosing };
  struct Security;

  Connection(io::Loop& loop, int fd, const Address* local);
  Connection(io::Loop& loop, const Address& to, const ConnectOptions& options, ConnectionHandler& handler);
  void on_connect(int32_t result);
  void on_recv(const io::Completion& completion);
  void on_send(const io::Completion& completion);
  void on_timer();
  void on_turn_end();

  void schedule_flush() { loop_.at_turn_end(turn_end_); }
  void check_high_watermark();
  void flush();
  void after_flush();
  void arm_recv();
  void deliver();
  void fail(base::Error error);
  void on_failure();
  void begin_closing(bool reset);
  void finish_if_idle();

  // connection_security.cc; with a transport only
  void begin_handshake();
  void on_handshake_bytes(const io::Completion& completion);
  void handshake_step();
  void on_established();
  bool decrypt();
  bool encrypt();
  void fail_transport(const base::Error& error);
  bool may_say_farewell(CloseMode mode);
  bool all_decrypted() const;
  size_t queued() const;  // plain and cipher bytes that wait to be sent

  io::Loop& loop_;
  ConnectionHandler* handler_;  // null once closed
  int fd_ = -1;
  State state_;
  bool read_ended_ = false;
  bool end_delivered_ = false;
  bool end_written_ = false;   // the caller ended the stream
  bool end_sent_ = false;      // FIN is out
  bool above_high_ = false;
  bool notify_drained_ = false;
  bool delay_close_ = false;
  bool reset_ = false;
  bool reset_over_unread_ = false;
  bool redeliver_ = false;
  bool failed_ = false;
  bool finished_ = false;
  uint16_t pauses_ = 0;
  base::milliseconds delay_{0};
  size_t high_watermark_ = 1 << 20;
  uint64_t bytes_received_ = 0;
  uint64_t bytes_sent_ = 0;
  base::Buffer in_;
  base::Buffer out_;
  io::Op<&Connection::on_recv> recv_{*this};
  io::Op<&Connection::on_send> send_{*this};  // connect uses it too: nothing is sent before
  io::TimerOf<&Connection::on_timer> timer_;  // connect timeout, then delayed close
  io::HookOf<&Connection::on_turn_end> turn_end_{*this};
  io::HookOf<&Connection::on_failure> failure_hook_{*this};
  std::unique_ptr<base::Error> failure_;      // to be reported at the end of the turn
  std::unique_ptr<base::Error> write_error_;  // a send failed; reported once reading has come to its end
  std::unique_ptr<sockaddr_storage> connect_address_;
  std::unique_ptr<Security> security_;        // null: plain
  std::unique_ptr<ClientHints> hints_;
  DelayedCloseCounter* close_counter_ = nullptr;  // alive as long as we are in its list
  const Address* listener_address_ = nullptr;
  std::unique_ptr<Address> remote_, local_;
  std::unique_ptr<Address> restored_;  // the original destination, once known
};

}  // namespace millrace::net
