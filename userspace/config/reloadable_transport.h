// TLS of a filter chain or a cluster whose certificates may change on disk: a transport factory that stands for the one
// made last. Reading anew is a matter of the main thread; workers make transports meanwhile, from whichever is there.
// What is broken is not taken: the one before stays. Part of the Snapshot, shared by all workers.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/transport.h"
#include "stats/stats.h"
#include "tls/context.h"

namespace millrace::config {

// What one reading came to: also a failed one knows which files it read.
struct TransportReading {
  base::Result<std::shared_ptr<const tls::Context>> context;
  std::vector<std::string> files;
};

class ReloadableTransport final : public net::TransportFactory {
 public:
  // name: what a log line calls it. first: what read() gave, and succeeded. stats: schema ssl_socket_factory.
  // expiry: makes the statistics of the certificate of that name, schema certificate.
  using MakeStats = std::function<stats::StatBlockPtr(const std::string&)>;
  ReloadableTransport(std::string name, TransportReading first, std::function<TransportReading()> read,
                      stats::StatBlockPtr stats, MakeStats expiry);

  std::unique_ptr<net::Transport> create(const Ask& ask) const override { return context()->create(ask); }
  std::shared_ptr<const tls::Context> context() const;

  // ---- main thread
  const std::string& name() const { return name_; }
  const std::vector<std::string>& files() const { return files_; }
  // Reads everything again. An error: nothing has changed but what was counted.
  base::Result<void> reload();

 private:
  void publish_expiry();

  const std::string name_;
  const std::function<TransportReading()> read_;
  const stats::StatBlockPtr stats_;
  const MakeStats make_expiry_;
  std::map<std::string, stats::StatBlockPtr> expiry_;  // by certificate
  std::vector<std::string> files_;
  mutable std::mutex mutex_;  // of the pointer
  std::shared_ptr<const tls::Context> context_;
};

}  // namespace millrace::config
