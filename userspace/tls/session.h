// One TLS connection, sans-IO, over BoringSSL. Owned by its net::Connection, on its thread; holds on to its context.
//
//   handshaking -> established -> ended (the peer said close_notify)
//        \------------\--> failed (every later call returns the same error)
//
// BoringSSL reads and writes our buffers through a BIO of our own, one record at a time and whole ones only, so that
// between calls it keeps no bytes and no buffers of its own: an idle connection costs its keys and its session.
#pragma once
#include <openssl/base.h>

#include <memory>
#include <optional>
#include <string>

#include "base/buffer.h"
#include "base/result.h"
#include "net/transport.h"
#include "stats/stats.h"
#include "tls/certificate.h"
#include "tls/context_core.h"

namespace millrace::tls {

class Facts;

class Session final : public net::Transport {
 public:
  Session(std::shared_ptr<const ContextCore> core, const net::TransportFactory::Ask& ask, bool logs_keys);
  ~Session() override;

  base::Result<void> start(base::Buffer& wire_out) override;
  base::Result<void> receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer& wire_out) override;
  base::Result<void> send(base::Buffer& plain_in, base::Buffer& wire_out, size_t limit_bytes) override;
  void close_notify(base::Buffer& wire_out) override;
  bool established() const override { return state_ == State::kEstablished || state_ == State::kEnded; }
  bool ended() const override { return state_ == State::kEnded; }
  std::string_view protocol() const override;
  std::shared_ptr<const net::TransportFacts> facts() const override;

  static Session& of(const SSL* ssl);
  // Called back by BoringSSL, through the context's callbacks.
  const ContextCore& core() const { return *core_; }
  ssl_select_cert_result_t select_certificate(const SSL_CLIENT_HELLO* hello);
  ssl_verify_result_t verify_peer(uint8_t* alert);
  void keep(bssl::UniquePtr<SSL_SESSION> session) const;
  void log_key(std::string_view line) const;

 private:
  enum class State : uint8_t { kHandshaking, kEstablished, kEnded, kFailed };
  friend struct SessionBio;

  void set_up_client(const net::TransportFactory::Ask& ask);
  // What a kept session is found under: the names it was validated for.
  std::string session_name(std::string_view server_name) const;
  base::Result<void> handshake();
  base::Result<void> read_records(base::Buffer& wire_in, base::Buffer& plain_out);
  base::Result<void> read_record(size_t plain_bytes_max, base::Buffer& plain_out);
  std::string_view next_plain(base::Buffer& plain_in, char* scratch) const;
  base::Result<void> failed();
  void count_handshake();
  bool key_usage_invalid() const;

  std::shared_ptr<const ContextCore> core_;
  bssl::UniquePtr<SSL> ssl_;
  stats::StatShard stats_;
  base::Buffer* wire_in_ = nullptr;           // while a call lasts
  base::Buffer* wire_out_ = nullptr;          // likewise
  size_t readable_bytes_ = 0;                 // how much of wire_in_ BoringSSL may have
  const Certificate* certificate_ = nullptr;  // ours: what we present
  State state_ = State::kHandshaking;
  bool peer_validated_ = false;
  bool logs_keys_ = false;
  bool said_close_notify_ = false;
  std::unique_ptr<const std::string> verify_name_;  // Ask::verify_name; null: none
  std::string refusal_;  // why the peer's certificate was not taken
  std::optional<base::Error> error_;
  mutable std::shared_ptr<const Facts> facts_;
};

}  // namespace millrace::tls
