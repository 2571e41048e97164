#include "config/reloadable_transport.h"

#include <utility>

#include "stats/schema_ssl.h"

namespace millrace::config {

namespace stat = stats::ssl_socket_factory;

ReloadableTransport::ReloadableTransport(std::string name, TransportReading first,
                                         std::function<TransportReading()> read, stats::StatBlockPtr stats,
                                         MakeStats expiry)
    : name_(std::move(name)), read_(std::move(read)), stats_(std::move(stats)), make_expiry_(std::move(expiry)),
      files_(std::move(first.files)), context_(std::move(first.context).value()) {
  publish_expiry();
}

void ReloadableTransport::publish_expiry() {
  std::vector<tls::CertificateDetails> all = context_->certificate_chains();
  if (std::optional<tls::CertificateDetails> authority = context_->authority()) all.push_back(std::move(*authority));
  std::map<std::string, stats::StatBlockPtr> fresh;
  for (const tls::CertificateDetails& one : all) {
    const auto known = expiry_.find(one.stat_name);
    const auto [entry, is_new] = fresh.try_emplace(one.stat_name);
    if (is_new) entry->second = known != expiry_.end() ? known->second : make_expiry_(one.stat_name);
    const auto seconds = std::chrono::floor<std::chrono::seconds>(one.expiration_time.time_since_epoch());
    entry->second->main_shard().gauge_set(stats::certificate::kExpirationUnixTimeSeconds, seconds.count());
  }
  expiry_ = std::move(fresh);
}

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
  {
    const std::lock_guard lock(mutex_);
    context_.swap(old);
  }
  publish_expiry();
  return {};  // the old one goes when its last connection does
}

}  // namespace millrace::config
