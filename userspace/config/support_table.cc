#include "config/support.h"

namespace millrace::config {

// One message of Envoy's API a paragraph: its full name, then indented lines of fields.
//   name            honoured
//   name{A,B}       honoured for these values only: of an enum, or true/false
//   name[0]         of a list only the first item counts
//   name<a.b.>      an Any, or a message around one, that must hold a type whose name starts so
//   - name name: why these are accepted although they change nothing here
// A field that is not named is an error in a configuration: known to Envoy, not supported by
// Millrace yet. So is a message that is not named, wherever an Any holds it. google.protobuf's
// value types (Duration, UInt32Value, Struct, ...) need no line. The tests check every name against
// the API, and that the message of every honoured field has its paragraph.
static constexpr std::string_view kSource = R"(
# ---- bootstrap
envoy.config.bootstrap.v3.Bootstrap
  node static_resources admin stats_config layered_runtime cluster_manager
  bootstrap_extensions<millrace.fastpath.>
  stats_flush_interval
  - stats_flush_on_admin: there are no stats sinks to flush to
  - node_context_params: only xDS requests carry it
  use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config<envoy.extensions.network.dns_resolver.>
  - grpc_async_client_manager_config: no gRPC client is in use
  - deferred_stat_options: no statistic takes memory before its first use
  - memory_allocator_manager: a setting of Envoy's allocator
envoy.config.bootstrap.v3.Bootstrap.StaticResources
  listeners clusters secrets
envoy.config.bootstrap.v3.Admin
  address access_log access_log_path socket_options
  - profile_path: there is no built-in CPU profiler
  - ignore_global_conn_limit: connections to the admin address are never counted
envoy.config.bootstrap.v3.ClusterManager
  upstream_bind_config
  - enable_deferred_cluster_creation: clusters are small enough to be made at start
envoy.config.bootstrap.v3.LayeredRuntime
  layers
envoy.config.bootstrap.v3.RuntimeLayer
  name static_layer
  - admin_layer: no runtime key can be changed while running
envoy.config.core.v3.Node
  id cluster locality
  - metadata dynamic_parameters user_agent_name user_agent_version user_agent_build_version: only xDS requests carry it
  - extensions client_features listening_addresses: only xDS requests carry it
envoy.config.core.v3.Locality
  region zone sub_zone
envoy.config.metrics.v3.StatsConfig
  use_all_default_tags{true}

# ---- the kernel fast path
millrace.fastpath.v1.FastPath
  pin_directory cgroups daemon_cgroup capture connect_time inbound short_circuit worker_steering on_unavailable
millrace.fastpath.v1.Capture
  listeners include_cgroups exclude_cgroups include_users exclude_users include_ports exclude_ports
  include_addresses exclude_addresses loopback on_dead_listener so_original_dst_cgroups connections_max
millrace.fastpath.v1.ConnectTime
  listeners udp_services on_no_endpoint reset_connections services_max endpoints_max udp_flows_max
millrace.fastpath.v1.UdpService
  address cluster
millrace.fastpath.v1.Inbound
  listener network_namespace addresses ports on_dead_listener loopback
millrace.fastpath.v1.ShortCircuit
  cgroups listeners policy unread_bytes_max one_way_bytes_max
millrace.fastpath.v1.WorkerSteering
envoy.type.v3.Int32Range
  start end

# ---- addresses and sockets
envoy.config.core.v3.Address
  socket_address pipe
envoy.config.core.v3.SocketAddress
  protocol{TCP} address port_value ipv4_compat network_namespace_filepath
envoy.config.core.v3.Pipe
  path mode
envoy.config.core.v3.SocketOption
  level name int_value buf_value state
  - description: a comment
envoy.config.core.v3.TcpKeepalive
  keepalive_probes keepalive_time keepalive_interval
envoy.config.core.v3.BindConfig
  source_address socket_options freebind
envoy.config.core.v3.TransportSocket
  name typed_config<envoy.extensions.transport_sockets.>
envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
  config transport_socket
envoy.config.core.v3.ProxyProtocolConfig
  version

# ---- TLS
envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
  common_tls_context require_client_certificate require_sni{false} session_ticket_keys
  session_ticket_keys_sds_secret_config disable_stateless_session_resumption disable_stateful_session_resumption
  session_timeout ocsp_staple_policy full_scan_certs_on_sni_mismatch prefer_client_ciphers
envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
  common_tls_context sni allow_renegotiation max_session_keys enforce_rsa_key_usage auto_host_sni
  auto_sni_san_validation
envoy.extensions.transport_sockets.tls.v3.CommonTlsContext
  tls_params tls_certificates tls_certificate_sds_secret_configs validation_context
  validation_context_sds_secret_config combined_validation_context alpn_protocols key_log
envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext
  default_validation_context validation_context_sds_secret_config
envoy.extensions.transport_sockets.tls.v3.TlsParameters
  tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves signature_algorithms
envoy.extensions.transport_sockets.tls.v3.TlsCertificate
  certificate_chain private_key pkcs12 password ocsp_staple watched_directory
  - signed_certificate_timestamp: Envoy does not send it either
envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext
  trusted_ca system_root_certs watched_directory verify_certificate_spki verify_certificate_hash
  match_typed_subject_alt_names match_subject_alt_names crl allow_expired_certificate trust_chain_verification
  only_verify_leaf_cert_crl max_verify_depth
envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts
envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher
  san_type matcher oid
envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys
  keys
envoy.extensions.transport_sockets.tls.v3.TlsKeyLog
  path local_address_range remote_address_range
envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig
  name sds_config
envoy.extensions.transport_sockets.tls.v3.Secret
  name tls_certificate session_ticket_keys validation_context
envoy.config.core.v3.ConfigSource
  path path_config_source
  - initial_fetch_timeout: a file is there at once, or it is an error
  - resource_api_version: there is one version, v3
envoy.config.core.v3.PathConfigSource
  path watched_directory
envoy.config.core.v3.WatchedDirectory
  path

# ---- listeners
envoy.config.listener.v3.Listener
  name address additional_addresses stat_prefix filter_chains default_filter_chain per_connection_buffer_limit_bytes
  transparent freebind socket_options tcp_fast_open_queue_length tcp_backlog_size tcp_keepalive
  enable_reuse_port access_log traffic_direction bind_to_port deprecated_v1 use_original_dst
  listener_filters listener_filters_timeout continue_on_listener_filters_timeout ignore_global_conn_limit
  - metadata: nothing reads a listener's metadata
  - max_connections_to_accept_per_socket_event: the kernel hands over connections as they come
  - reuse_port: replaced by enable_reuse_port, in Envoy too
  - bypass_overload_manager: there is no overload manager
envoy.config.listener.v3.Listener.DeprecatedV1
  bind_to_port
envoy.config.listener.v3.AdditionalAddress
  address
envoy.config.listener.v3.ListenerFilter
  name typed_config<envoy.extensions.filters.listener.>
envoy.extensions.filters.listener.original_dst.v3.OriginalDst
envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
  enable_ja3_fingerprinting enable_ja4_fingerprinting max_client_hello_size
  close_connection_on_client_hello_parsing_errors
  - initial_read_buffer_size: bytes are looked at where they were received
envoy.config.listener.v3.FilterChain
  name filters filter_chain_match transport_socket transport_socket_connect_timeout use_proxy_proto{false}
  - metadata: nothing reads a filter chain's metadata
envoy.config.listener.v3.FilterChainMatch
  destination_port prefix_ranges server_names transport_protocol application_protocols direct_source_prefix_ranges
  source_type source_prefix_ranges source_ports
envoy.config.listener.v3.Filter
  name typed_config<envoy.extensions.filters.network.>

# ---- network filters
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
  stat_prefix cluster weighted_clusters idle_timeout max_downstream_connection_duration
  max_connect_attempts backoff_options
  access_log access_log_options access_log_flush_interval flush_access_log_on_connected
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions
  access_log_flush_interval flush_access_log_on_connected
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster
  clusters
envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight
  name weight
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
  codec_type{AUTO,HTTP1,HTTP2} stat_prefix route_config http_filters access_log
  common_http_protocol_options http_protocol_options http2_protocol_options max_request_headers_kb
  stream_error_on_invalid_http_message
  stream_idle_timeout request_timeout request_headers_timeout drain_timeout delayed_close_timeout
  server_name server_header_transformation scheme_header_transformation via
  use_remote_address xff_num_trusted_hops skip_xff_append append_x_forwarded_port internal_address_config
  generate_request_id preserve_external_request_id always_set_request_id_in_response
  proxy_100_continue normalize_path merge_slashes path_with_escaped_slashes_action
  strip_matching_host_port strip_any_host_port strip_trailing_host_dot
  forward_client_cert_details set_current_client_cert_details upgrade_configs
  - http3_protocol_options: only HTTP/1 and HTTP/2 are served
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails
  subject cert chain uri dns
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig
  upgrade_type enabled
envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig
  unix_sockets cidr_ranges
envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter
  name typed_config<envoy.extensions.filters.http.> disabled is_optional
envoy.extensions.filters.http.router.v3.Router
  dynamic_stats{true} suppress_envoy_headers respect_expected_rq_timeout
  - start_child_span: there is no tracing
envoy.extensions.filters.http.grpc_http1_bridge.v3.Config
  upgrade_protobuf_to_grpc ignore_query_parameters
envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig
  content_type withhold_grpc_frames response_size_header
envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute
  disabled
envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder
  proto_descriptor proto_descriptor_bin services print_options match_incoming_request_route ignored_query_parameters
  auto_mapping ignore_unknown_query_parameters convert_grpc_status url_unescape_spec query_param_unescape_plus
  match_unregistered_custom_verb request_validation_options case_insensitive_enum_parsing max_request_body_size
  max_response_body_size capture_unknown_query_parameters{false}
envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder.PrintOptions
  add_whitespace always_print_primitive_fields always_print_enums_as_ints preserve_proto_field_names
  stream_newline_delimited
envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder.RequestValidationOptions
  reject_unknown_method reject_unknown_query_parameters reject_binding_body_field_collisions
envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
  emit_filter_state{false} individual_method_stats_allowlist stats_for_all_methods enable_upstream_stats
  replace_dots_in_grpc_service_name
envoy.config.core.v3.GrpcMethodList
  services
envoy.config.core.v3.GrpcMethodList.Service
  name method_names
envoy.extensions.filters.http.grpc_web.v3.GrpcWeb
envoy.config.core.v3.HttpProtocolOptions
  idle_timeout max_connection_duration max_headers_count max_stream_duration headers_with_underscores_action
  max_requests_per_connection max_response_headers_kb
envoy.config.core.v3.UpstreamHttpProtocolOptions
  auto_sni auto_san_validation override_auto_sni_header
envoy.config.core.v3.Http1ProtocolOptions
  allow_absolute_url accept_http_10 default_host_for_http_10 header_key_format enable_trailers
  allow_chunked_length allow_custom_methods send_fully_qualified_url
  - use_balsa_parser: Millrace has its own parser
envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat
  proper_case_words
envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords
envoy.config.core.v3.Http2ProtocolOptions
  hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size
  allow_connect allow_metadata{false} max_outbound_frames max_outbound_control_frames
  max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream
  max_inbound_window_update_frames_per_data_frame_sent
  stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message
  custom_settings_parameters connection_keepalive stream_reset_burst stream_reset_rate
  max_header_field_size_kb disallow_obs_text enable_huffman_encoding{true}
  - max_metadata_size: METADATA frames are dropped
  - use_oghttp2_codec: a choice between Envoy's two codecs
envoy.config.core.v3.Http2ProtocolOptions.SettingsParameter
  identifier value
envoy.config.core.v3.KeepaliveSettings
  interval timeout interval_jitter connection_idle_interval
envoy.config.core.v3.SchemeHeaderTransformation
  scheme_to_overwrite

# ---- routes
envoy.config.route.v3.RouteConfiguration
  name virtual_hosts internal_only_headers
  request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
  most_specific_header_mutations_wins validate_clusters max_direct_response_body_size_bytes
  typed_per_filter_config<envoy.>
  ignore_port_in_host_matching ignore_path_parameters_in_path_matching
  - metadata: nothing reads a route configuration's metadata
envoy.config.route.v3.VirtualHost
  name domains routes require_tls retry_policy
  request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
  include_request_attempt_count include_attempt_count_in_response include_is_timeout_retry_header
  per_request_buffer_limit_bytes typed_per_filter_config<envoy.>
  - metadata: nothing reads a virtual host's metadata
envoy.config.route.v3.Route
  name match route redirect direct_response non_forwarding_action stat_prefix per_request_buffer_limit_bytes
  request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
  typed_per_filter_config<envoy.>
  - metadata: nothing reads a route's metadata
  - decorator tracing: there is no tracing
envoy.config.route.v3.NonForwardingAction
envoy.config.route.v3.RouteMatch
  prefix path safe_regex path_separated_prefix connect_matcher case_sensitive runtime_fraction
  headers query_parameters grpc
envoy.config.route.v3.RouteMatch.ConnectMatcher
envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions
envoy.config.route.v3.HeaderMatcher
  name exact_match safe_regex_match range_match present_match prefix_match suffix_match contains_match
  string_match invert_match treat_missing_header_as_empty
envoy.config.route.v3.QueryParameterMatcher
  name string_match present_match
envoy.config.route.v3.RouteAction
  cluster cluster_header weighted_clusters cluster_not_found_response_code
  prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite host_rewrite_header host_rewrite_path_regex
  append_x_forwarded_host timeout idle_timeout retry_policy priority upgrade_configs max_stream_duration
  max_grpc_timeout grpc_timeout_offset
  - early_data_policy: there is no early data on a plain connection
envoy.config.route.v3.RouteAction.UpgradeConfig
  upgrade_type enabled
envoy.config.route.v3.RouteAction.MaxStreamDuration
  max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset
envoy.config.route.v3.WeightedCluster
  clusters total_weight header_name runtime_key_prefix
envoy.config.route.v3.WeightedCluster.ClusterWeight
  name cluster_header weight host_rewrite_literal typed_per_filter_config<envoy.>
  request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove
envoy.config.route.v3.FilterConfig
  config<envoy.extensions.filters.http.> is_optional disabled
envoy.config.route.v3.RedirectAction
  https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite
  response_code strip_query
envoy.config.route.v3.DirectResponseAction
  status body
envoy.config.route.v3.RetryPolicy
  retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate host_selection_retry_max_attempts
  retriable_status_codes retry_back_off rate_limited_retry_back_off retriable_headers retriable_request_headers
envoy.config.route.v3.RetryPolicy.RetryBackOff
  base_interval max_interval
envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff
  reset_headers max_interval
envoy.config.route.v3.RetryPolicy.ResetHeader
  name format
envoy.config.route.v3.RetryPolicy.RetryHostPredicate
  name typed_config<envoy.extensions.retry.host.>
envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate

# ---- clusters
envoy.config.cluster.v3.Cluster
  name alt_stat_name type{STATIC,STRICT_DNS,LOGICAL_DNS,ORIGINAL_DST} connect_timeout
  per_connection_buffer_limit_bytes load_assignment
  lb_policy{ROUND_ROBIN,LEAST_REQUEST,RANDOM,CLUSTER_PROVIDED,LOAD_BALANCING_POLICY_CONFIG} load_balancing_policy
  round_robin_lb_config least_request_lb_config original_dst_lb_config cleanup_interval
  common_lb_config circuit_breakers
  typed_extension_protocol_options<envoy.extensions.upstreams.http.v3.>
  max_requests_per_connection common_http_protocol_options http_protocol_options http2_protocol_options
  transport_socket transport_socket_matches upstream_connection_options upstream_bind_config protocol_selection
  upstream_http_protocol_options
  cluster_type
  dns_refresh_rate dns_failure_refresh_rate dns_jitter respect_dns_ttl dns_lookup_family
  dns_resolvers use_tcp_for_dns_lookups dns_resolution_config
  typed_dns_resolver_config<envoy.extensions.network.dns_resolver.>
  - wait_for_warm_on_init: listeners wait until every name was asked for once
  - close_connections_on_host_health_failure ignore_health_on_host_removal: no health checks are made
  - metadata: nothing reads a cluster's metadata
envoy.config.cluster.v3.Cluster.CustomClusterType
  name typed_config<envoy.extensions.clusters.>
envoy.config.cluster.v3.Cluster.RefreshRate
  base_interval max_interval
envoy.extensions.clusters.dns.v3.DnsCluster
  dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter dns_min_refresh_rate dns_lookup_family
  typed_dns_resolver_config<envoy.extensions.network.dns_resolver.> all_addresses_in_single_endpoint
envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate
  base_interval max_interval
envoy.config.core.v3.DnsResolutionConfig
  resolvers dns_resolver_options
envoy.config.core.v3.DnsResolverOptions
  use_tcp_for_dns_lookups no_default_search_domain
envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
  resolvers use_resolvers_as_fallback dns_resolver_options query_timeout_seconds query_tries rotate_nameservers
  - filter_unroutable_families: what cannot be reached fails to connect, and the next host is tried
  - udp_max_queries max_udp_channel_duration: the resolver's sockets live no longer than the questions under way
  - edns0_max_payload_size: answers that are too large for UDP are asked for once more by TCP
  - reinit_channel_on_timeout: it is done always
envoy.config.cluster.v3.Cluster.TransportSocketMatch
  name match transport_socket
envoy.config.cluster.v3.Cluster.RoundRobinLbConfig
envoy.config.cluster.v3.Cluster.LeastRequestLbConfig
  choice_count active_request_bias
envoy.config.cluster.v3.Cluster.OriginalDstLbConfig
  use_http_header http_header_name upstream_port_override
envoy.config.cluster.v3.Cluster.CommonLbConfig
  healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config
  - update_merge_window ignore_new_hosts_until_first_hc close_connections_on_host_set_change: static hosts do not change
envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig
  fail_traffic_on_panic
  - routing_enabled min_cluster_size: without cluster_manager.local_cluster_name no zone is preferred, in Envoy too
envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig
envoy.config.cluster.v3.CircuitBreakers
  thresholds per_host_thresholds
envoy.config.cluster.v3.CircuitBreakers.Thresholds
  priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining
  max_connection_pools
envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget
  budget_percent min_retry_concurrency
envoy.config.cluster.v3.UpstreamConnectionOptions
  tcp_keepalive
  - happy_eyeballs_config: an endpoint has one address
envoy.config.cluster.v3.LoadBalancingPolicy
  policies[0]
envoy.config.cluster.v3.LoadBalancingPolicy.Policy
  typed_extension_config<envoy.extensions.load_balancing_policies.>
envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig
  locality_weighted_lb_config zone_aware_lb_config
envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig
envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig
  fail_traffic_on_panic
  - routing_enabled min_cluster_size: without cluster_manager.local_cluster_name no zone is preferred, in Envoy too
envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin
  locality_lb_config
envoy.extensions.load_balancing_policies.random.v3.Random
envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest
  choice_count active_request_bias selection_method enable_full_scan locality_lb_config
envoy.extensions.upstreams.http.v3.HttpProtocolOptions
  common_http_protocol_options explicit_http_config use_downstream_protocol_config auto_config
  upstream_http_protocol_options
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig
  http_protocol_options http2_protocol_options
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig
  http_protocol_options http2_protocol_options
envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig
  http_protocol_options http2_protocol_options
  - http3_protocol_options: HTTP/3 is not served, so it is not spoken upstream
envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name endpoints policy
envoy.config.endpoint.v3.ClusterLoadAssignment.Policy
  overprovisioning_factor
  - endpoint_stale_after: static endpoints do not grow stale
envoy.config.endpoint.v3.LocalityLbEndpoints
  locality lb_endpoints priority
  - load_balancing_weight: only a choice between localities of one priority reads it
  - metadata: nothing reads a locality's metadata
  - proximity: Envoy does not use it either
envoy.config.endpoint.v3.LbEndpoint
  endpoint health_status load_balancing_weight metadata
envoy.config.endpoint.v3.Endpoint
  address hostname
  - health_check_config: no health checks are made

# ---- access logs
envoy.config.accesslog.v3.AccessLog
  name filter typed_config<envoy.extensions.access_loggers.>
envoy.config.accesslog.v3.AccessLogFilter
  status_code_filter duration_filter not_health_check_filter runtime_filter and_filter or_filter header_filter
  response_flag_filter grpc_status_filter traceable_filter log_type_filter
envoy.config.accesslog.v3.ComparisonFilter
  op value
envoy.config.accesslog.v3.StatusCodeFilter
  comparison
envoy.config.accesslog.v3.DurationFilter
  comparison
envoy.config.accesslog.v3.NotHealthCheckFilter
envoy.config.accesslog.v3.TraceableFilter
envoy.config.accesslog.v3.RuntimeFilter
  runtime_key percent_sampled use_independent_randomness
envoy.config.accesslog.v3.AndFilter
  filters
envoy.config.accesslog.v3.OrFilter
  filters
envoy.config.accesslog.v3.HeaderFilter
  header
envoy.config.accesslog.v3.ResponseFlagFilter
  flags
envoy.config.accesslog.v3.LogTypeFilter
  types exclude
envoy.config.accesslog.v3.GrpcStatusFilter
  statuses exclude
envoy.extensions.access_loggers.file.v3.FileAccessLog
  path format json_format typed_json_format log_format
envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
  log_format
envoy.extensions.access_loggers.stream.v3.StderrAccessLog
  log_format
envoy.config.core.v3.SubstitutionFormatString
  text_format text_format_source json_format omit_empty_values json_format_options
  - content_type: a log line has none
envoy.config.core.v3.JsonFormatOptions
  sort_properties

# ---- shared by many
envoy.config.core.v3.DataSource
  filename inline_bytes inline_string environment_variable
  - watched_directory: files of certificates are watched wherever they are, others are read once
envoy.config.core.v3.HeaderValueOption
  header append append_action keep_empty_value
envoy.config.core.v3.HeaderValue
  key value raw_value
envoy.config.core.v3.TypedExtensionConfig
  name typed_config
envoy.config.core.v3.Metadata
  filter_metadata
  - typed_filter_metadata: nothing reads it
envoy.config.core.v3.CidrRange
  address_prefix prefix_len
envoy.config.core.v3.BackoffStrategy
  base_interval max_interval
envoy.config.core.v3.RuntimeFractionalPercent
  default_value runtime_key
envoy.config.core.v3.RuntimeUInt32
  default_value runtime_key
envoy.config.core.v3.RuntimeDouble
  default_value runtime_key
envoy.type.v3.FractionalPercent
  numerator denominator
envoy.type.v3.Percent
  value
envoy.type.v3.Int64Range
  start end
envoy.type.matcher.v3.StringMatcher
  exact prefix suffix contains safe_regex ignore_case
envoy.type.matcher.v3.RegexMatcher
  regex google_re2
envoy.type.matcher.v3.RegexMatcher.GoogleRE2
  - max_program_size: RE2's own limits apply
envoy.type.matcher.v3.RegexMatchAndSubstitute
  pattern substitution
)";

std::string_view support_table_source() {
  return kSource;
}

}  // namespace millrace::config
