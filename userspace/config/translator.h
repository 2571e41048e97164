// The parts of the translation from proto to option structs; see translate.h. Each function takes the path of its
// message, for the diagnostics.
#pragma once
#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.h"
#include "config/snapshot.h"
#include "config/translate.h"
#include "filter/hcm_options.h"
#include "http/http2_options.h"
#include "route/options.h"
#include "router/http_router.h"
#include "router/tcp_proxy.h"
#include "stats/stats.h"
#include "tls/options.h"
#include "upstream/options.h"

namespace google::protobuf {
class Any;
class Duration;
class Struct;
class Value;
template <typename Element>
class RepeatedPtrField;
}  // namespace google::protobuf
namespace envoy::type::v3 {
class FractionalPercent;
class Int32Range;
}  // namespace envoy::type::v3
namespace envoy::type::matcher::v3 {
class RegexMatchAndSubstitute;
class StringMatcher;
}  // namespace envoy::type::matcher::v3
namespace envoy::config::core::v3 {
class Address;
class BindConfig;
class CidrRange;
class DataSource;
class HeaderValueOption;
class Http1ProtocolOptions;
class Http2ProtocolOptions;
class HttpProtocolOptions;
class UpstreamHttpProtocolOptions;
class SocketAddress;
class SocketOption;
class SubstitutionFormatString;
class TcpKeepalive;
class Metadata;
class TransportSocket;
}  // namespace envoy::config::core::v3
namespace envoy::config::accesslog::v3 {
class AccessLog;
class AccessLogFilter;
}  // namespace envoy::config::accesslog::v3
namespace envoy::config::bootstrap::v3 {
class Bootstrap;
class LayeredRuntime;
}  // namespace envoy::config::bootstrap::v3
namespace envoy::config::endpoint::v3 {
class ClusterLoadAssignment;
class LbEndpoint;
}  // namespace envoy::config::endpoint::v3
namespace envoy::config::cluster::v3 {
class CircuitBreakers;
class Cluster;
}  // namespace envoy::config::cluster::v3
namespace envoy::config::listener::v3 {
class Filter;
class FilterChain;
class FilterChainMatch;
class Listener;
class ListenerFilter;
}  // namespace envoy::config::listener::v3
namespace envoy::config::route::v3 {
class HeaderMatcher;
class RedirectAction;
class RetryPolicy;
class Route;
class RouteAction;
class RouteConfiguration;
class RouteMatch;
class VirtualHost;
class WeightedCluster;
}  // namespace envoy::config::route::v3
namespace envoy::extensions::filters::network::http_connection_manager::v3 {
class HttpConnectionManager;
}
namespace envoy::extensions::filters::network::tcp_proxy::v3 {
class TcpProxy;
}

namespace envoy::extensions::transport_sockets::tls::v3 {
class CertificateValidationContext;
class CommonTlsContext;
class DownstreamTlsContext;
class SdsSecretConfig;
class Secret;
class TlsCertificate;
class UpstreamTlsContext;
}  // namespace envoy::extensions::transport_sockets::tls::v3

namespace millrace::filter {
struct GrpcJsonTranscoderOptions;
}
namespace millrace::fastpath::v1 {
class Capture;
class ConnectTime;
class FastPath;
class Inbound;
class ShortCircuit;
}  // namespace millrace::fastpath::v1

namespace millrace::config {

namespace fastpath_v1 = millrace::fastpath::v1;
namespace core_v3 = envoy::config::core::v3;
namespace route_v3 = envoy::config::route::v3;
namespace cluster_v3 = envoy::config::cluster::v3;
namespace endpoint_v3 = envoy::config::endpoint::v3;
namespace listener_v3 = envoy::config::listener::v3;
namespace accesslog_v3 = envoy::config::accesslog::v3;
namespace bootstrap_v3 = envoy::config::bootstrap::v3;
namespace hcm_v3 = envoy::extensions::filters::network::http_connection_manager::v3;
namespace tls_v3 = envoy::extensions::transport_sockets::tls::v3;
namespace tcp_proxy_v3 = envoy::extensions::filters::network::tcp_proxy::v3;

class ReloadableTransport;

class Translator {
 public:
  Translator(Diagnostics& diagnostics, const BuildContext& context);
  ~Translator();

  std::shared_ptr<const Snapshot> bootstrap(const bootstrap_v3::Bootstrap& from);
  // What turned out to have no effect, beyond what the table of supported fields knows.
  std::vector<SupportNote> take_ignored() { return std::move(ignored_); }

  using Path = const std::string&;
  // translate_tls.cc
  tls::ServerOptions tls_server(const tls_v3::DownstreamTlsContext& from, Path path);
  tls::ClientOptions tls_client(const tls_v3::UpstreamTlsContext& from, Path path);

 private:

  // A key of layered_runtime; no key changes while the process runs, so a key's value is taken at translation.
  struct RuntimeEntry {
    const google::protobuf::Value* value = nullptr;
    std::string path;
    bool read = false;
  };

  void error(Path path, std::string what, std::string hint = {}) {
    diagnostics_.error(path, std::move(what), std::move(hint));
  }
  void warning(Path path, std::string what, std::string hint = {}) {
    diagnostics_.warning(path, std::move(what), std::move(hint));
  }

  // An error that only says what is missing: not when something there was already found at fault, which may be why.
  void error_if_first(Path path, std::string what, std::string hint = {}) {
    if (!diagnostics_.has_error_about(path)) error(path, std::move(what), std::move(hint));
  }

  // translate_runtime.cc
  void runtime(const bootstrap_v3::LayeredRuntime& from, Snapshot& to);
  void runtime_layer(const google::protobuf::Struct& from, const std::string& prefix, Path path, RuntimeLayer& to);
  void note_unread_runtime_keys();
  const google::protobuf::Value* runtime_value(std::string_view key);  // null: no such key
  std::optional<double> runtime_number(std::string_view key);
  std::optional<uint32_t> runtime_integer(std::string_view key);
  route::Fraction fraction(const envoy::type::v3::FractionalPercent& from, std::string_view runtime_key);

  // translate_common.cc
  base::milliseconds duration(const google::protobuf::Duration& from);
  // false: an error was reported, or the field is not there.
  template <class Any, class Message>
  bool unpack(const Any& any, Message& to, Path path) {
    if (any.UnpackTo(&to)) return true;
    error(path, fmt::format("cannot read the content of {}", any.type_url()));
    return false;
  }
  std::optional<net::Address> address(const core_v3::Address& from, Path path, bool port_zero_allowed);
  std::optional<net::Address> socket_address(const core_v3::SocketAddress& from, Path path, bool port_zero_allowed);
  // Of addresses other than listeners'.
  void own_network_namespace(const core_v3::SocketAddress& from, Path path);
  net::TcpKeepalive keepalive(const core_v3::TcpKeepalive& from);
  std::vector<net::SocketOption> socket_options(const google::protobuf::RepeatedPtrField<core_v3::SocketOption>& from);
  std::vector<net::Cidr> cidr_ranges(const google::protobuf::RepeatedPtrField<core_v3::CidrRange>& from, Path path);
  std::string data_source(const core_v3::DataSource& from, Path path);
  route::StringMatch string_match(const envoy::type::matcher::v3::StringMatcher& from);
  route::HeaderMatch header_match(const route_v3::HeaderMatcher& from);
  route::RegexRewrite regex_rewrite(const envoy::type::matcher::v3::RegexMatchAndSubstitute& from);
  route::Fraction fraction(const envoy::type::v3::FractionalPercent& from);

  // translate_access_log.cc
  std::vector<stream::AccessLog> access_logs(const google::protobuf::RepeatedPtrField<accesslog_v3::AccessLog>& from,
                                             Path path);
  std::optional<stream::AccessLog> access_log(const accesslog_v3::AccessLog& from, Path path);
  std::optional<stream::AccessLogFilterOptions> access_log_filter(const accesslog_v3::AccessLogFilter& from, Path path);
  void substitution_format(const core_v3::SubstitutionFormatString& from, stream::AccessLogOptions& to, Path path);

  // translate_route.cc
  route::RouteTableOptions route_table(const route_v3::RouteConfiguration& from, Path path);
  route::VirtualHostOptions virtual_host(const route_v3::VirtualHost& from, Path path);
  route::RouteOptions route(const route_v3::Route& from, Path path);
  route::RouteMatch route_match(const route_v3::RouteMatch& from, Path path);
  void weighted_clusters(const route_v3::WeightedCluster& from, route::RouteAction& to, Path path);
  route::RouteAction route_action(const route_v3::RouteAction& from, Path path);
  route::RedirectAction redirect(const route_v3::RedirectAction& from);
  route::RetryPolicy retry_policy(const route_v3::RetryPolicy& from, Path path);
  // typed_per_filter_config of any level.
  template <class Message>
  std::vector<route::FilterOverrideOptions> filter_overrides(const Message& from, Path path);
  template <class Message>
  route::HeaderMutations mutations(const Message& from, Path path);
  route::HeaderToAdd header_to_add(const core_v3::HeaderValueOption& from, Path path);

  // One of a cluster's transport_socket_matches, read.
  struct TransportMatch {
    const google::protobuf::Struct* labels;
    std::shared_ptr<const net::TransportFactory> transport;
    stats::StatBlockPtr stats;
  };

  // translate_cluster.cc
  std::optional<upstream::ClusterOptions> cluster(const cluster_v3::Cluster& from, Path path);
  void endpoints(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  void priorities_without_gap(const endpoint_v3::ClusterLoadAssignment& from, Path path);
  // Without its address.
  upstream::EndpointOptions endpoint(const endpoint_v3::LbEndpoint& from,
                                     const std::vector<TransportMatch>& transports,
                                     const upstream::ClusterOptions& cluster);
  // Those of the cluster, with their statistics.
  std::vector<TransportMatch> transports_of(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  void lb_policy(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  void original_dst(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  void bind_config(const core_v3::BindConfig& from, upstream::ClusterOptions& to, Path path);
  void one_locality_per_priority(const upstream::ClusterOptions& cluster, Path path);
  void circuit_breaker_keys(upstream::ClusterOptions& to);
  void circuit_breakers(const cluster_v3::CircuitBreakers& from, upstream::ClusterOptions& to, Path path);

  // translate_dns.cc
  // Of a cluster whose endpoints are names: which, and how to ask for them.
  void dns(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  std::shared_ptr<upstream::DnsOptions> dns_options(const cluster_v3::Cluster& from, Path path);
  void dns_extension(const google::protobuf::Any& from, upstream::ClusterOptions& to, Path path);
  void dns_targets(const cluster_v3::Cluster& from, upstream::ClusterOptions& cluster, upstream::DnsOptions& to,
                   Path path);
  template <class RefreshRate>
  void failure_refresh(const RefreshRate& from, upstream::DnsOptions& to);
  template <class Config>
  upstream::CaresOptions resolver(const Config& from, Path path);
  upstream::CaresOptions cares(const google::protobuf::Any& from, Path path);
  void dns_servers(const google::protobuf::RepeatedPtrField<core_v3::Address>& from, upstream::CaresOptions& to,
                   Path path);

  // translate_cluster_http.cc
  void http_options(const cluster_v3::Cluster& from, upstream::ClusterOptions& to, Path path);
  void http_protocol_options(const google::protobuf::Any& from, upstream::HttpOptions& to, Path path);
  void common_http(const core_v3::HttpProtocolOptions& from, upstream::HttpOptions& to);
  void server_name_by_request(const core_v3::UpstreamHttpProtocolOptions& from, upstream::HttpOptions& to);
  void http1(const core_v3::Http1ProtocolOptions& from, upstream::HttpOptions& to, Path path);

  // translate_listener.cc
  std::unique_ptr<const Listener> listener(const listener_v3::Listener& from, Path path);
  void listener_addresses(const listener_v3::Listener& from, Listener& to, Path path);
  void listener_filters(const listener_v3::Listener& from, Listener& to, Path path);
  void unique_addresses(const Listener& listener, Path path);
  std::unique_ptr<const filter::NetworkFilterConfig> network_filter(const listener_v3::Filter& from,
                                                                    const Listener& listener, Path path);

  // translate_filter_chain.cc
  static bool asks_for_client_hello(const listener_v3::Listener& from);
  void tls_inspector(const listener_v3::ListenerFilter& from, Listener& to, Path path);
  void filter_chains(const listener_v3::Listener& from, Listener& to, Path path);
  FilterChain filter_chain(const listener_v3::FilterChain& from, const filter::FilterChainMatch& match,
                           const Listener& listener, Path path);
  filter::FilterChainMatch filter_chain_match(const listener_v3::FilterChainMatch& from, Path path);

  // translate_transport.cc
  struct TlsPlace {
    std::string name;         // for log lines
    stats::BlockName stats;   // of the listener or cluster
    std::string factory;      // statistics of its secrets, below `stats`
    std::vector<std::string> server_names;  // of the filter chain's match
  };
  bool is_plain(const core_v3::TransportSocket& from, Path path);
  template <class Options, class Message>
  std::shared_ptr<const net::TransportFactory> reloadable(const Message& from, TlsPlace place, Path path,
                                                          Options (*read)(Translator&, const Message&,
                                                                          const TlsPlace&, Path));
  // Null for plain, and after an error.
  std::shared_ptr<const net::TransportFactory> downstream_transport(const core_v3::TransportSocket& from,
                                                                    TlsPlace place, Path path);
  std::shared_ptr<const net::TransportFactory> upstream_transport(const core_v3::TransportSocket& from,
                                                                  const std::string& cluster, Path path);
  std::vector<TransportMatch> transport_matches(const cluster_v3::Cluster& from, const std::string& stat_name,
                                                Path path);
  stats::StatBlockPtr match_stats(const std::string& stat_name, std::string_view match);
  static const TransportMatch* matching(const std::vector<TransportMatch>& matches, const core_v3::Metadata& metadata);

  // translate_tls.cc
  void static_secrets(const bootstrap_v3::Bootstrap& from);
  tls::Source tls_source(const core_v3::DataSource& from, Path path);
  tls::CertificateOptions tls_certificate(const tls_v3::TlsCertificate& from, Path path);
  tls::ValidationOptions tls_validation(const tls_v3::CertificateValidationContext& from, Path path);
  // Null after an error. Valid as long as this translator.
  const tls_v3::Secret* secret(const tls_v3::SdsSecretConfig& from, Path path);
  const tls_v3::Secret* secret_of_file(const std::string& name, const std::string& file, Path path);
  void tls_validation_context(const tls_v3::CommonTlsContext& from, tls::CommonOptions& to, Path path);
  tls::CommonOptions tls_common(const tls_v3::CommonTlsContext& from, Path path);

  // translate_http2.cc
  http::Http2Options http2(const core_v3::Http2ProtocolOptions& from, Path path);
  void http2_setting(const core_v3::Http2ProtocolOptions& from, uint16_t id, uint32_t value, http::Http2Options& to,
                     Path path);

  // translate_hcm.cc
  std::unique_ptr<const filter::NetworkFilterConfig> hcm(const hcm_v3::HttpConnectionManager& from,
                                                         const Listener& listener, Path path);
  void hcm_codec(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path);
  void hcm_http2(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path);
  void hcm_headers(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path);
  void http_filters(const hcm_v3::HttpConnectionManager& from, filter::HcmOptions& to, Path path);
  void router(const hcm_v3::HttpConnectionManager& from, int index, filter::HcmOptions& to, Path path);
  std::vector<upstream::Cluster*> route_clusters(const route::RouteTable& table, bool validate, Path path);
  std::unique_ptr<const filter::NetworkFilterConfig> tcp_proxy(const tcp_proxy_v3::TcpProxy& from, Path path);

  // translate_http_filters.cc: every HTTP filter but the router.
  using FilterConfigPtr = std::unique_ptr<filter::HttpFilterConfig>;
  using PerFilterConfigPtr = std::shared_ptr<const route::PerFilterConfig>;
  struct HttpFilterKind;
  struct NamedFilter {
    std::string name;
    const HttpFilterKind* kind;  // null: the router, or one that is not known
  };
  static const HttpFilterKind* http_filter_kind(const google::protobuf::Any& config);
  // The items of http_filters that stay: those that are not known and optional go.
  std::vector<int> kept_http_filters(const hcm_v3::HttpConnectionManager& from);
  FilterConfigPtr http_filter(const google::protobuf::Any& config, Path path);
  route::FilterOverrideOptions filter_override(const std::string& filter, const google::protobuf::Any& config,
                                               Path path);
  FilterConfigPtr grpc_http1_bridge(const google::protobuf::Any& from, Path path);
  FilterConfigPtr grpc_reverse_bridge(const google::protobuf::Any& from, Path path);
  PerFilterConfigPtr grpc_reverse_bridge_route(const google::protobuf::Any& from, Path path);
  FilterConfigPtr grpc_stats(const google::protobuf::Any& from, Path path);
  FilterConfigPtr grpc_web(const google::protobuf::Any& from, Path path);

  // translate_transcoder.cc
  std::optional<filter::GrpcJsonTranscoderOptions> json_transcoder(const google::protobuf::Any& any, Path path);
  FilterConfigPtr grpc_json_transcoder(const google::protobuf::Any& from, Path path);
  PerFilterConfigPtr grpc_json_transcoder_route(const google::protobuf::Any& from, Path path);

  // translate_fastpath.cc
  void fast_path(const bootstrap_v3::Bootstrap& from, Snapshot& to);
  FastPath fast_path(const fastpath_v1::FastPath& from, const Snapshot& snapshot, Path path);
  // What capture's listeners have so far.
  struct CaptureAddresses {
    std::map<net::Address::Kind, net::Address> of_family;
    std::set<std::pair<std::string, net::Address::Kind>> in_namespace;
  };
  void capture(const fastpath_v1::Capture& from, const Snapshot& snapshot, FastPath& to, Path path);
  void capture_address(const Listener& listener, const net::Address& address, CaptureAddresses& known, Path path);
  void connect_time(const fastpath_v1::ConnectTime& from, const Snapshot& snapshot, FastPath& to, Path path);
  void service_address(const net::Address& address, const upstream::Cluster& cluster, Path path);
  void inbound(const fastpath_v1::Inbound& from, const Snapshot& snapshot, FastPath& to, Path path);
  void short_circuit(const fastpath_v1::ShortCircuit& from, const Snapshot& snapshot, FastPath& to, Path path);
  const Listener* listener_named(const std::string& name, const Snapshot& snapshot, Path path);
  std::vector<fastpath::PortRange> port_ranges(
      const google::protobuf::RepeatedPtrField<envoy::type::v3::Int32Range>& from, Path path);

  Diagnostics& diagnostics_;
  const BuildContext& context_;
  std::map<std::string, RuntimeEntry, std::less<>> runtime_;
  const envoy::config::core::v3::BindConfig* bind_config_ = nullptr;  // for clusters that have none; may be null
  upstream::CaresOptions default_resolver_;  // of clusters that name none
  std::vector<SupportNote> ignored_;
  std::map<std::string, std::string> listener_by_address_;
  std::set<std::string, std::less<>> defined_clusters_;  // those with errors of their own too
  std::shared_ptr<const upstream::ClusterSet> clusters_;
  using StaticSecrets = std::map<std::string, tls_v3::Secret>;
  std::shared_ptr<const StaticSecrets> secrets_;                  // of static_resources, by name
  std::vector<std::unique_ptr<tls_v3::Secret>> file_secrets_;     // that a secret_of_file() returned
  std::vector<std::string> files_read_;                           // by the TLS context that is being translated
  std::vector<std::shared_ptr<ReloadableTransport>> transports_;  // all there are
  std::vector<NamedFilter> named_filters_;  // of the connection manager in hand
};

}  // namespace millrace::config
