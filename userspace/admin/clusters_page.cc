// /clusters as text and as JSON of admin.v3.Clusters, written host by host.
#include <fmt/format.h>

#include <iterator>
#include <optional>
#include <vector>

#include "admin/json.h"
#include "admin/pages.h"
#include "upstream/cluster.h"

namespace millrace::admin {
namespace {

using upstream::Cluster;
using upstream::HealthFlag;
using upstream::Host;

// Walks clusters and hosts; a format says what one of them looks like.
class ClustersBody : public Body {
 public:
  explicit ClustersBody(std::shared_ptr<const upstream::ClusterSet> clusters) : clusters_(std::move(clusters)) {}

  bool next(base::Buffer& out) final {
    text_.clear();
    if (!begun_) begin(text_);
    begun_ = true;
    const size_t count = clusters_ == nullptr ? 0 : clusters_->size();
    while (cluster_ < count && text_.size() < kSliceBytes) {
      const Cluster& cluster = clusters_->at(cluster_);
      if (!hosts_) {
        hosts_ = cluster.all_hosts();
        open(text_, cluster, !hosts_->empty(), cluster_ == 0);
      }
      while (host_ < hosts_->size() && text_.size() < kSliceBytes) {
        write(text_, cluster, *(*hosts_)[host_], host_ == 0);
        ++host_;
      }
      if (host_ < hosts_->size()) break;
      close(text_, !hosts_->empty());
      host_ = 0;
      hosts_.reset();
      ++cluster_;
    }
    if (cluster_ == count) end(text_);
    out.append(text_);
    return cluster_ < count;
  }

 protected:
  virtual void begin(std::string&) {}
  virtual void end(std::string&) {}
  virtual void open(std::string& out, const Cluster& cluster, bool has_hosts, bool first) = 0;
  virtual void write(std::string& out, const Cluster& cluster, const Host& host, bool first) = 0;
  virtual void close(std::string&, bool /*has_hosts*/) {}

 private:
  const std::shared_ptr<const upstream::ClusterSet> clusters_;
  uint32_t cluster_ = 0;
  size_t host_ = 0;
  bool begun_ = false;
  std::optional<std::vector<upstream::HostPtr>> hosts_;  // of the cluster whose own lines are written
  std::string text_;
};

constexpr std::pair<upstream::ResourcePriority, std::string_view> kPriorities[] = {
    {upstream::ResourcePriority::kDefault, "default"}, {upstream::ResourcePriority::kHigh, "high"}};

class ClustersText final : public ClustersBody {
 public:
  using ClustersBody::ClustersBody;

 private:
  void open(std::string& out, const Cluster& cluster, bool, bool) override {
    const auto to = std::back_inserter(out);
    const std::string_view name = cluster.name();
    fmt::format_to(to, "{}::observability_name::{}\n", name, cluster.stat_name());
    for (const auto& [priority, word] : kPriorities) {
      const upstream::Resources& limits = cluster.resources(priority);
      fmt::format_to(to,
                     "{0}::{1}_priority::max_connections::{2}\n{0}::{1}_priority::max_pending_requests::{3}\n"
                     "{0}::{1}_priority::max_requests::{4}\n{0}::{1}_priority::max_retries::{5}\n",
                     name, word, limits.connections.max(), limits.pending_requests.max(), limits.requests.max(),
                     limits.max_retries());
    }
    fmt::format_to(to, "{}::added_via_api::false\n", name);
  }

  void write(std::string& out, const Cluster& cluster, const Host& host, bool) override {
    const Cluster::HostTotals totals = Cluster::totals(host);
    const std::string at = fmt::format("{}::{}::", cluster.name(), host.address().to_string());
    const auto line = [&out, &at](std::string_view name, const auto& value) {
      fmt::format_to(std::back_inserter(out), "{}{}::{}\n", at, name, value);
    };
    line("cx_active", host.cx_active());
    line("cx_connect_fail", totals.cx_connect_fail);
    line("cx_total", totals.cx_total);
    line("rq_active", host.rq_active());
    line("rq_error", totals.rq_error);
    line("rq_success", totals.rq_success);
    line("rq_timeout", totals.rq_timeout);
    line("rq_total", totals.rq_total);
    line("hostname", host.hostname());
    line("health_flags", host.health_flags_string());
    line("weight", host.weight());
    line("region", host.locality().region);
    line("zone", host.locality().zone);
    line("sub_zone", host.locality().sub_zone);
    line("canary", host.canary());
    line("priority", host.priority());
    line("success_rate", -1);  // without outlier detection
    line("local_origin_success_rate", -1);
  }
};

class ClustersJson final : public ClustersBody {
 public:
  using ClustersBody::ClustersBody;

 private:
  void begin(std::string& out) override { out += "{\"cluster_statuses\":["; }
  void end(std::string& out) override { out += "\n]}\n"; }

  void open(std::string& out, const Cluster& cluster, bool has_hosts, bool first) override {
    const auto to = std::back_inserter(out);
    fmt::format_to(to, R"({}{{"name":{},"observability_name":{},"circuit_breakers":{{"thresholds":[)",
                   first ? "\n" : ",\n", json_string(cluster.name()), json_string(cluster.stat_name()));
    for (const auto& [priority, word] : kPriorities) {
      const upstream::Resources& limits = cluster.resources(priority);
      const bool high = priority == upstream::ResourcePriority::kHigh;
      fmt::format_to(to, R"({}{{{}"max_connections":{},"max_pending_requests":{},"max_requests":{},"max_retries":{}}})",
                     high ? "," : "", high ? R"("priority":"HIGH",)" : "", limits.connections.max(),
                     limits.pending_requests.max(), limits.requests.max(), limits.max_retries());
    }
    out += "]}";
    if (has_hosts) out += ",\"host_statuses\":[";
  }

  void close(std::string& out, bool has_hosts) override { out += has_hosts ? "]}" : "}"; }

  // As protobuf writes JSON: no zeros, no empty strings, 64-bit numbers as strings.
  void write(std::string& out, const Cluster&, const Host& host, bool first) override {
    const auto to = std::back_inserter(out);
    fmt::format_to(to, R"({}{{"address":{},"stats":[)", first ? "\n" : ",\n", address_json(host.address()));
    const Cluster::HostTotals totals = Cluster::totals(host);
    std::string_view comma;
    const auto metric = [&](std::string_view name, uint64_t value, bool gauge) {
      const std::string number = value == 0 ? "" : fmt::format(R"("value":"{}",)", value);
      fmt::format_to(to, R"({}{{{}{}"name":"{}"}})", comma, gauge ? R"("type":"GAUGE",)" : "", number, name);
      comma = ",";
    };
    metric("cx_connect_fail", totals.cx_connect_fail, false);
    metric("cx_total", totals.cx_total, false);
    metric("rq_error", totals.rq_error, false);
    metric("rq_success", totals.rq_success, false);
    metric("rq_timeout", totals.rq_timeout, false);
    metric("rq_total", totals.rq_total, false);
    metric("cx_active", host.cx_active(), true);
    metric("rq_active", host.rq_active(), true);
    fmt::format_to(to, R"(],"health_status":{{{}"eds_health_status":"{}"}},"weight":{})", failures(host), eds(host),
                   host.weight());
    if (!host.hostname().empty()) fmt::format_to(to, R"(,"hostname":{})", json_string(host.hostname()));
    if (host.priority() != 0) fmt::format_to(to, R"(,"priority":{})", host.priority());
    fmt::format_to(to, R"(,"locality":{{{}}}}})", locality(host.locality()));
  }

  static std::string failures(const Host& host) {
    static constexpr std::pair<HealthFlag, std::string_view> kFields[] = {
        {HealthFlag::kFailedActiveHc, "failed_active_health_check"},
        {HealthFlag::kFailedOutlierCheck, "failed_outlier_check"},
        {HealthFlag::kDegradedActiveHc, "failed_active_degraded_check"},
        {HealthFlag::kPendingDynamicRemoval, "pending_dynamic_removal"},
        {HealthFlag::kPendingActiveHc, "pending_active_hc"},
        {HealthFlag::kExcludedViaImmediateHcFail, "excluded_via_immediate_hc_fail"},
        {HealthFlag::kActiveHcTimeout, "active_hc_timeout"},
    };
    std::string out;
    for (const auto& [flag, field] : kFields) {
      if (host.has(flag)) fmt::format_to(std::back_inserter(out), R"("{}":true,)", field);
    }
    return out;
  }

  static std::string_view eds(const Host& host) {
    if (host.has(HealthFlag::kFailedEdsHealth)) return "UNHEALTHY";
    if (host.has(HealthFlag::kEdsStatusDraining)) return "DRAINING";
    return host.has(HealthFlag::kDegradedEdsHealth) ? "DEGRADED" : "HEALTHY";
  }

  static std::string locality(const upstream::Locality& locality) {
    std::string out;
    const auto field = [&out](std::string_view name, const std::string& value) {
      if (value.empty()) return;
      fmt::format_to(std::back_inserter(out), R"({}"{}":{})", out.empty() ? "" : ",", name, json_string(value));
    };
    field("region", locality.region);
    field("zone", locality.zone);
    field("sub_zone", locality.sub_zone);
    return out;
  }
};

}  // namespace

Response answer_clusters(const Request& request, AdminContext& context) {
  std::shared_ptr<const upstream::ClusterSet> clusters = context.clusters ? context.clusters() : nullptr;
  Response response;
  if (request.query.value("format") == "json") {
    response.content_type = kJsonType;
    response.body = std::make_unique<ClustersJson>(std::move(clusters));
  } else {
    response.body = std::make_unique<ClustersText>(std::move(clusters));
  }
  return response;
}

}  // namespace millrace::admin
