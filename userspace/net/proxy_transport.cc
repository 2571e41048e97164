#include "net/proxy_transport.h"

namespace millrace::net {
namespace {

class ProxyTransport final : public Transport {
 public:
  ProxyTransport(std::string header, std::unique_ptr<Transport> inner)
      : header_(std::move(header)), inner_(std::move(inner)) {}

  base::Result<void> start(base::Buffer& wire_out) override {
    wire_out.append(header_);
    header_ = {};
    started_ = true;
    return inner_ != nullptr ? inner_->start(wire_out) : base::Result<void>();
  }
  base::Result<void> receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer& wire_out) override {
    if (inner_ != nullptr) return inner_->receive(wire_in, plain_out, wire_out);
    plain_out.absorb(wire_in);
    return {};
  }
  base::Result<void> send(base::Buffer& plain_in, base::Buffer& wire_out, size_t limit_bytes) override {
    if (inner_ != nullptr) return inner_->send(plain_in, wire_out, limit_bytes);
    wire_out.absorb(plain_in);
    return {};
  }
  void close_notify(base::Buffer& wire_out) override {
    if (inner_ != nullptr) inner_->close_notify(wire_out);
  }
  bool established() const override { return inner_ != nullptr ? inner_->established() : started_; }
  bool ended() const override { return inner_ != nullptr && inner_->ended(); }
  bool announces_end() const override { return inner_ != nullptr && inner_->announces_end(); }
  std::string_view protocol() const override { return inner_ != nullptr ? inner_->protocol() : std::string_view(); }
  std::shared_ptr<const TransportFacts> facts() const override { return inner_ != nullptr ? inner_->facts() : nullptr; }
  void release_buffers() override {
    if (inner_ != nullptr) inner_->release_buffers();
  }

 private:
  std::string header_;
  const std::unique_ptr<Transport> inner_;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<Transport> ProxyTransportFactory::create(const Ask& ask) const {
  std::unique_ptr<Transport> inner;
  if (inner_ != nullptr) {
    inner = inner_->create(ask);
    if (inner == nullptr) return nullptr;
  }
  return std::make_unique<ProxyTransport>(proxy_header(version_, ask.source, ask.destination), std::move(inner));
}

}  // namespace millrace::net
