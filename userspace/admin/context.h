// What the admin pages show and what they set in motion, as functions of the server that owns it all. Every function is
// called on the main thread, within the turn that reads the request, and must not wait: whatever takes time is started
// and answered with OK, as Envoy does. A function that is not set makes its page empty, or answers 501 if it acts.
// (The empty initializers are there for designated ones: AdminContext{.store = store}.)
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "admin/exchange.h"
#include "base/clock.h"
#include "base/result.h"
#include "fastpath/splice_status.h"
#include "fastpath/status.h"
#include "net/address.h"
#include "tls/context.h"

namespace millrace::stats {
class Store;
}
namespace millrace::stream {
class AccessLog;
class AccessLogFiles;
}
namespace millrace::upstream {
class ClusterSet;
}

namespace millrace::admin {

enum class ServerState : uint8_t { kLive, kDraining, kPreInitializing, kInitializing };

// Durations are strings as protobuf writes them in JSON ("600s"), enums their names ("Serve").
using OptionValue = std::variant<bool, uint64_t, std::string>;

struct NodeFacts {
  std::string id, cluster;
  std::string region, zone, sub_zone;
  std::string user_agent_name = "envoy";  // what control planes and tools look for
  std::string metadata_json;              // an object; empty: none
};

struct ServerFacts {
  std::string version;
  base::seconds uptime_current_epoch{0};
  base::seconds uptime_all_epochs{0};
  std::vector<std::pair<std::string, OptionValue>> command_line_options;  // fields of admin.v3.CommandLineOptions
  NodeFacts node;
};

struct ListenerStatus {
  std::string name;
  std::vector<net::Address> addresses;  // what it is bound to: its own, then the additional ones
};

// Of one TLS context.
struct CertificateStatus {
  std::optional<tls::CertificateDetails> authority;
  std::vector<tls::CertificateDetails> chains;
};

struct RuntimeLayer {
  std::string name;
  std::vector<std::pair<std::string, std::string>> values;  // key, value as text
};

struct ConfigDumpQuery {
  std::optional<std::string> resource, mask, name_regex;
  bool include_eds = false;
};

struct DrainRequest {
  bool graceful = false;
  bool skip_exit = false;     // with graceful: keep listening when the drain is over
  bool inbound_only = false;
};

struct AdminContext {
  stats::Store& store;

  std::function<ServerState()> state = {};
  std::function<ServerFacts()> facts = {};
  // Before statistics are read: brings gauges that nobody keeps up to date (uptime, memory). Those of clusters are
  // brought up to date by the scrape.
  std::function<void()> refresh_stats = {};
  std::function<std::shared_ptr<const upstream::ClusterSet>()> clusters = {};
  std::function<std::vector<ListenerStatus>()> listeners = {};
  std::function<std::vector<RuntimeLayer>()> runtime = {};  // lowest first
  std::function<std::vector<CertificateStatus>()> certificates = {};
  // JSON of admin.v3.ConfigDump. kInvalidArgument becomes 400, kNotFound 404.
  std::function<base::Result<std::unique_ptr<Body>>(const ConfigDumpQuery&)> config_dump = {};

  std::function<fastpath::Status()> fast_path = {};
  std::function<const fastpath::ProvenSplice*()> short_circuit = {};  // null: there is none configured

  std::function<void(const DrainRequest&)> drain_listeners = {};
  std::function<void(bool fail)> healthcheck_fail = {};
  std::function<void()> reset_counters = {};  // not set: Store::reset_counters()
  std::function<void()> reopen_logs = {};
  std::function<void()> quit = {};            // called once the answer has been sent

  // Access logs of the admin server and where their files are; both, or none.
  const std::vector<stream::AccessLog>* access_logs = nullptr;
  stream::AccessLogFiles* access_log_files = nullptr;
};

}  // namespace millrace::admin
