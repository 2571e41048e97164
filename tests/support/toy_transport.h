// A transport for tests that want no cryptography: records of a type, a length and bytes turned by XOR. A client says
// hello with the protocol it wants, a server answers with its own hello; then data, and a record that ends a direction.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "net/transport.h"

namespace millrace::test {

struct ToyOptions {
  std::string protocol = "toy";     // a client's wish, a server's condition
  bool refuse = false;              // a server answers the hello with an alert
  bool mute = false;                // never answers
  size_t record_bytes_max = 1000;
  std::function<void()> on_step = [] {};  // at every handshake message taken
};

class ToyTransport final : public net::Transport {
 public:
  enum class Type : uint8_t { kHello = 1, kData, kEnd, kAlert };
  ToyTransport(const ToyOptions& options, bool client) : options_(options), client_(client) {}

  static std::string record(Type type, std::string_view bytes) {
    std::string out{static_cast<char>(type), static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size())};
    for (const char c : bytes) out += static_cast<char>(c ^ 0x5a);
    return out;
  }

  base::Result<void> start(base::Buffer& wire_out) override {
    if (client_) wire_out.append(record(Type::kHello, options_.protocol));
    return {};
  }
  base::Result<void> receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer& wire_out) override {
    while (wire_in.size() >= 3 && !ended_) {
      const std::string_view head = wire_in.linearize(3);
      const auto type = static_cast<Type>(head[0]);
      const size_t length = static_cast<size_t>(static_cast<uint8_t>(head[1])) << 8 | static_cast<uint8_t>(head[2]);
      if (wire_in.size() < 3 + length) break;
      std::string bytes(wire_in.linearize(3 + length).substr(3));
      for (char& c : bytes) c = static_cast<char>(c ^ 0x5a);
      wire_in.drain(3 + length);
      if (base::Result<void> taken = take(type, bytes, plain_out, wire_out); !taken.ok()) return taken;
    }
    return {};
  }
  base::Result<void> send(base::Buffer& plain_in, base::Buffer& wire_out, size_t limit_bytes) override {
    const size_t until = wire_out.size() + limit_bytes;
    while (!plain_in.empty() && wire_out.size() < until) {
      const size_t n = std::min(plain_in.size(), options_.record_bytes_max);
      wire_out.append(record(Type::kData, plain_in.linearize(n)));
      plain_in.drain(n);
    }
    return {};
  }
  void close_notify(base::Buffer& wire_out) override { wire_out.append(record(Type::kEnd, "")); }
  bool established() const override { return established_; }
  bool ended() const override { return ended_; }
  std::string_view protocol() const override { return established_ ? options_.protocol : std::string_view(); }
  std::shared_ptr<const net::TransportFacts> facts() const override { return nullptr; }

 private:
  base::Result<void> take(Type type, const std::string& bytes, base::Buffer& plain_out, base::Buffer& wire_out) {
    const auto broken = [](std::string what) {
      return base::Error{base::ErrorCode::kProtocol, base::Side::kInternal, 0, std::move(what)};
    };
    switch (type) {
      case Type::kHello:
        options_.on_step();
        if (established_) return broken("toy: two hellos");
        if (options_.mute) return {};
        if (options_.refuse || bytes != options_.protocol) {
          wire_out.append(record(Type::kAlert, "no such protocol"));
          return broken("toy: refused " + bytes);
        }
        if (!client_) wire_out.append(record(Type::kHello, options_.protocol));
        established_ = true;
        return {};
      case Type::kData:
        if (!established_) return broken("toy: data before the handshake");
        plain_out.append(bytes);
        return {};
      case Type::kEnd:
        ended_ = true;
        return {};
      case Type::kAlert:
        return broken("toy: alert: " + bytes);
    }
    return broken("toy: no record");
  }

  const ToyOptions options_;
  const bool client_;
  bool established_ = false, ended_ = false;
};

struct ToyFactory final : net::TransportFactory {
  explicit ToyFactory(bool client_in, ToyOptions options_in = {}) : options(std::move(options_in)), client(client_in) {}
  std::unique_ptr<net::Transport> create(const Ask& ask) const override {
    if (empty) return nullptr;
    ToyOptions made = options;
    if (!ask.alpn.empty()) made.protocol = ask.alpn[0];
    return std::make_unique<ToyTransport>(made, client);
  }
  ToyOptions options;
  const bool client;
  bool empty = false;
};

}  // namespace millrace::test
