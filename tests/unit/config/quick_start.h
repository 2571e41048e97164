// A whole bootstrap for the tests of loading, translation and /config_dump.
#pragma once
#include <string_view>

namespace millrace::config {

// The configuration most tutorials start with, the router by its name only.
inline constexpr std::string_view kQuickStart = R"(admin:
  access_log_path: /tmp/admin_access.log
  address:
    socket_address: { address: 127.0.0.1, port_value: 9901 }
static_resources:
  listeners:
  - name: listener_0
    address:
      socket_address: { address: 127.0.0.1, port_value: 10000 }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          codec_type: AUTO
          route_config:
            name: local_route
            virtual_hosts:
            - name: local_service
              domains: ["*"]
              routes:
              - match: { prefix: "/service" }
                route:
                  cluster: some_service
                  retry_policy:
                    retry_on: 5xx,gateway-error
                    num_retries: 3
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
              - match: { prefix: "/static" }
                route: { cluster: some_service, prefix_rewrite: "/" }
          http_filters:
          - name: envoy.filters.http.router
  clusters:
  - name: some_service
    connect_timeout: 0.25s
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - priority: HIGH
        max_connections: 100
        max_pending_requests: 200
        max_requests: 300
    load_assignment:
      cluster_name: some_service
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: { address: 127.0.0.1, port_value: 1234 }
)";

}  // namespace millrace::config
