#include "config/translate.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "config/config_dump.h"
#include "config/loader.h"
#include "config/reloadable_transport.h"
#include "config/translator.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"

namespace millrace::config {

Translator::Translator(Diagnostics& diagnostics, const BuildContext& context)
    : diagnostics_(diagnostics), context_(context) {}

Translator::~Translator() = default;

std::shared_ptr<const Snapshot> Translator::bootstrap(const bootstrap_v3::Bootstrap& from) {
  const size_t errors_before = diagnostics_.errors();
  auto to = std::make_shared<Snapshot>();
  const auto& statics = from.static_resources();
  runtime(from.layered_runtime(), *to);
  default_resolver_ = resolver(from, "");
  if (from.cluster_manager().has_upstream_bind_config()) bind_config_ = &from.cluster_manager().upstream_bind_config();

  static_secrets(from);
  std::vector<std::shared_ptr<upstream::Cluster>> clusters;
  std::map<std::string_view, int> names;
  for (int i = 0; i < statics.clusters_size(); ++i) {
    const std::string at = fmt::format("static_resources.clusters[{}]", i);
    if (const auto [first, fresh] = names.emplace(statics.clusters(i).name(), i); !fresh) {
      error(at + ".name", fmt::format("cluster '{}' is defined twice, first as static_resources.clusters[{}]",
                                      statics.clusters(i).name(), first->second));
      continue;
    }
    defined_clusters_.insert(statics.clusters(i).name());
    if (auto options = cluster(statics.clusters(i), at)) {
      clusters.push_back(std::make_shared<upstream::Cluster>(std::move(*options), *context_.store));
    }
  }
  clusters_ = std::make_shared<upstream::ClusterSet>(std::move(clusters));
  to->clusters = clusters_;

  std::map<std::string, int> listener_names;
  for (int i = 0; i < statics.listeners_size(); ++i) {
    const std::string at = fmt::format("static_resources.listeners[{}]", i);
    auto made = listener(statics.listeners(i), at);
    if (made == nullptr) continue;
    if (const auto [first, fresh] = listener_names.emplace(made->name, i); !fresh) {
      error(at + ".name", fmt::format("listener '{}' is defined twice, first as static_resources.listeners[{}]",
                                      made->name, first->second));
    }
    unique_addresses(*made, at);
    to->listeners.push_back(std::move(made));
  }

  fast_path(from, *to);

  if (from.admin().has_address()) to->admin.address = address(from.admin().address(), "admin.address", true);
  own_network_namespace(from.admin().address().socket_address(), "admin.address.socket_address");
  to->admin.access_logs = access_logs(from.admin().access_log(), "admin.access_log");
  if (!from.admin().access_log_path().empty()) {
    stream::AccessLogOptions options;
    options.path = from.admin().access_log_path();
    auto log = stream::AccessLog::compile(options, context_.access_log_files);
    if (log.ok()) {
      to->admin.access_logs.push_back(std::move(*log));
    } else {
      error("admin.access_log_path", log.error().what);
    }
  }
  to->admin.socket_options = socket_options(from.admin().socket_options());

  const auto& node = from.node();
  to->node = {node.id(), node.cluster(), node.locality().region(), node.locality().zone(), node.locality().sub_zone()};
  if (!context_.service_node.empty()) to->node.id = context_.service_node;
  if (!context_.service_cluster.empty()) to->node.cluster = context_.service_cluster;
  if (!context_.service_zone.empty()) to->node.zone = context_.service_zone;
  if (from.has_stats_flush_interval()) to->stats_flush_interval = duration(from.stats_flush_interval());
  if (std::optional<double> limit = runtime_number("overload.global_downstream_max_connections");
      limit && *limit >= 0) {
    to->connections_max = static_cast<int64_t>(std::min(*limit, 9e18));
  }
  to->transports = std::move(transports_);
  note_unread_runtime_keys();
  if (diagnostics_.errors() != errors_before) return nullptr;
  to->config_dump = std::make_shared<const ConfigDump>(from, std::chrono::system_clock::now());
  return to;
}

static LoadedSnapshot load(const LoadOptions& options, const BuildContext& context) {
  Loaded loaded = load_bootstrap(options);
  LoadedSnapshot out;
  Diagnostics& diagnostics = loaded.diagnostics();
  out.ignored = enforce_support(loaded.message(), diagnostics);
  Translator translator(diagnostics, context);
  std::shared_ptr<const Snapshot> snapshot = translator.bootstrap(loaded.bootstrap());
  for (SupportNote& note : translator.take_ignored()) out.ignored.push_back(std::move(note));
  out.errors = diagnostics.errors();
  out.warnings = diagnostics.warnings();
  out.messages = diagnostics.to_string();
  if (out.errors == 0) out.snapshot = std::move(snapshot);
  return out;
}

LoadedSnapshot load_snapshot(const LoadOptions& options, const BuildContext& context) {
  LoadedSnapshot out = load(options, context);
  // The message and the places of its fields, many times what the Snapshot takes, are gone: so is their memory.
  ::malloc_trim(0);
  return out;
}

}  // namespace millrace::config
