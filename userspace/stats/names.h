// The names of Envoy's blocks: prefix, and what Envoy's default tag extraction makes of it (its well_known_names), so
// that dashboards written for Envoy read Millrace's Prometheus output. Tags come in the order Envoy prints them in.
//
// One difference, on purpose: Envoy cuts a cluster's tag at the first dot of its name, so that "a.b" becomes a metric
// family of its own; here the tag is the whole name.
#pragma once
#include <string_view>

#include "stats/stats.h"

namespace millrace::stats {

BlockName cluster_name(std::string_view cluster);                        // cluster.<name>.
BlockName cluster_name(std::string_view cluster, std::string_view sub);  // cluster.<name>.<sub>.
// cluster.<name>.<protocol>.<service>.<method>.; without a service: cluster.<name>.<protocol>.
BlockName grpc_name(std::string_view cluster, std::string_view protocol, std::string_view service,
                    std::string_view method);
BlockName http_name(std::string_view stat_prefix);                       // http.<stat_prefix>.
BlockName http_name(std::string_view stat_prefix, std::string_view sub);
// `address` is the listener's address ("127.0.0.1:10000") or its stat_prefix.
BlockName listener_name(std::string_view address);
BlockName listener_name(std::string_view address, std::string_view sub);  // listener.<address>.<sub>.
BlockName listener_worker_name(std::string_view address, unsigned worker);
BlockName listener_http_name(std::string_view address, std::string_view stat_prefix);
BlockName tcp_name(std::string_view stat_prefix);
BlockName virtual_cluster_name(std::string_view virtual_host, std::string_view virtual_cluster);
BlockName route_name(std::string_view virtual_host, std::string_view stat_prefix);
BlockName rds_name(std::string_view stat_prefix, std::string_view route_config);
// server., cluster_manager., listener_manager., http1., ...: no tags.
BlockName plain_name(std::string_view prefix);
// What Envoy makes of a user's string inside a name: ':' becomes '_' ("://" and ":/" one of them).
std::string sanitized(std::string_view name);

}  // namespace millrace::stats
