#include "config/reloadable_transport.h"

#include <utility>

#include "stats/schema_ssl.h"

namespace millrace::config {

namespace stat = stats::ssl_socket_factory;

ReloadableTransport::ReloadableTransport(std::string name, TransportReading first,
                                         std::function<TransportReading()> read, stats::StatBlockPtr stats)
    : name_(std::move(name)), read_(std::move(read)), stats_(std::move(stats)), files_(std::move(first.files)),
      context_(std::move(first.context).value()) {}

std::shared_ptr<const tls::Context> ReloadableTransport::context() const {
  const std::lock_guard lock(mutex_);
  return context_;
}

base::Result<void> ReloadableTransport::reload() {
  TransportReading reading = read_();
  files_ = std::move(reading.files);
  if (!reading.context.ok()) {
    stats_->main_shard().inc(stat::kKeyRotationFailed);
    return reading.context.error();
  }
  stats_->main_shard().inc(stat::kSslContextUpdateBySds);
  std::shared_ptr<const tls::Context> old = std::move(reading.context).value();
  const std::lock_guard lock(mutex_);
  context_.swap(old);
  return {};  // the old one goes when its last connection does
}

}  // namespace millrace::config
