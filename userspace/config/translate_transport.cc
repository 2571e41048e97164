// Transport sockets: what of them are plain, TLS that is read anew when its files change, and PROXY headers.
#include "config/reloadable_transport.h"
#include "config/translator.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "net/proxy_transport.h"
#include "stats/names.h"
#include "stats/schema_ssl.h"
#include "stats/schema_tls.h"

namespace millrace::config {

using envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
using envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;

namespace {

stats::BlockName below(stats::BlockName name, std::string_view what) {
  name.prefix += what;
  name.tag_extracted_prefix += what;
  return name;
}

}  // namespace

bool Translator::is_plain(const core_v3::TransportSocket& from, Path path) {
  if (from.typed_config().Is<RawBuffer>()) return true;
  if (from.has_typed_config()) return false;
  if (from.name() != "envoy.transport_sockets.raw_buffer") {
    error(path, fmt::format("transport socket '{}' has no typed_config", from.name()), "name it by its @type");
  }
  return true;
}

template <class Options, class Message>
std::shared_ptr<const net::TransportFactory> Translator::reloadable(const Message& from, TlsPlace place, Path path,
                                                                    Options (*read)(Translator&, const Message&,
                                                                                    const TlsPlace&, Path)) {
  const size_t errors_before = diagnostics_.errors();
  files_read_.clear();
  const Options options = read(*this, from, place, path);
  if (diagnostics_.errors() != errors_before) return nullptr;
  stats::StatBlockPtr tls_stats = context_.store->add_block(stats::tls::kSchema, below(place.stats, "ssl."));
  auto context = tls::Context::make(options, tls_stats);
  if (!context.ok()) {
    error(path, context.error().what);
    return nullptr;
  }
  const auto expiry = [of = below(place.stats, "ssl.certificate."), store = context_.store](const std::string& name) {
    stats::BlockName certificate = of;
    const std::string shown = stats::sanitized(name);
    certificate.prefix += shown + ".";
    certificate.tags.insert(certificate.tags.begin(), {"envoy.tls_certificate", shown});
    return store->add_block(stats::certificate::kSchema, certificate);
  };
  const auto again = [from, place, path, tls_stats, read, secrets = secrets_, store = context_.store] {
    Diagnostics diagnostics;
    BuildContext build;
    build.store = store;
    Translator translator(diagnostics, build);
    translator.secrets_ = secrets;
    const Options fresh = read(translator, from, place, path);
    std::vector<std::string> files = std::move(translator.files_read_);
    if (!diagnostics.has_errors()) return TransportReading{tls::Context::make(fresh, tls_stats), std::move(files)};
    const Diagnostic& first = diagnostics.list().front();
    base::Error error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, first.to_string()};
    return TransportReading{std::move(error), std::move(files)};
  };
  auto made = std::make_shared<ReloadableTransport>(
      place.name, TransportReading{std::move(context), std::move(files_read_)}, again,
      context_.store->add_block(stats::ssl_socket_factory::kSchema, below(place.stats, place.factory)), expiry);
  transports_.push_back(made);
  return made;
}

std::shared_ptr<const net::TransportFactory> Translator::downstream_transport(const core_v3::TransportSocket& from,
                                                                              TlsPlace place, Path path) {
  if (is_plain(from, path)) return nullptr;
  const std::string at = path + ".typed_config";
  if (!from.typed_config().Is<tls_v3::DownstreamTlsContext>()) {
    const auto& any = from.typed_config();
    if (any.Is<tls_v3::UpstreamTlsContext>() || any.Is<ProxyProtocolUpstreamTransport>()) {
      error(at, fmt::format("{} is for clusters", any.type_url()), "a listener has DownstreamTlsContext");
    }
    return nullptr;  // an unknown type was reported by the table of supported fields
  }
  tls_v3::DownstreamTlsContext config;
  if (!unpack(from.typed_config(), config, at)) return nullptr;
  place.factory = "server_ssl_socket_factory.";
  return reloadable<tls::ServerOptions, tls_v3::DownstreamTlsContext>(
      config, std::move(place), at, [](Translator& self, const auto& message, const TlsPlace& where, Path p) {
        tls::ServerOptions options = self.tls_server(message, p);
        options.server_names = where.server_names;
        return options;
      });
}

std::shared_ptr<const net::TransportFactory> Translator::upstream_transport(const core_v3::TransportSocket& from,
                                                                            const std::string& cluster, Path path) {
  if (is_plain(from, path)) return nullptr;
  const std::string at = path + ".typed_config";
  const auto& any = from.typed_config();
  if (any.Is<tls_v3::DownstreamTlsContext>()) {
    error(at, fmt::format("{} is for listeners", any.type_url()), "a cluster has UpstreamTlsContext");
  } else if (any.Is<ProxyProtocolUpstreamTransport>()) {
    ProxyProtocolUpstreamTransport config;
    if (!unpack(any, config, at)) return nullptr;
    const bool v2 = config.config().version() == core_v3::ProxyProtocolConfig::V2;
    return std::make_shared<net::ProxyTransportFactory>(
        v2 ? net::ProxyVersion::kV2 : net::ProxyVersion::kV1,
        upstream_transport(config.transport_socket(), cluster, at + ".transport_socket"));
  } else if (any.Is<tls_v3::UpstreamTlsContext>()) {
    tls_v3::UpstreamTlsContext config;
    if (!unpack(any, config, at)) return nullptr;
    const std::string name = fmt::format("cluster '{}'", cluster);
    TlsPlace place{name, stats::cluster_name(cluster), "client_ssl_socket_factory.", {}};
    return reloadable<tls::ClientOptions, tls_v3::UpstreamTlsContext>(
        config, std::move(place), at,
        [](Translator& self, const auto& message, const TlsPlace&, Path p) { return self.tls_client(message, p); });
  }
  return nullptr;
}

std::vector<Translator::TransportMatch> Translator::transport_matches(const cluster_v3::Cluster& from,
                                                                      const std::string& stat_name, Path path) {
  std::vector<TransportMatch> to;
  for (int i = 0; i < from.transport_socket_matches_size(); ++i) {
    const auto& match = from.transport_socket_matches(i);
    to.push_back({&match.match(),
                  upstream_transport(match.transport_socket(), stat_name,
                                     fmt::format("{}.transport_socket_matches[{}].transport_socket", path, i)),
                  match_stats(stat_name, match.name())});
  }
  return to;
}

stats::StatBlockPtr Translator::match_stats(const std::string& stat_name, std::string_view match) {
  return context_.store->add_block(stats::transport_match::kSchema,
                                   stats::cluster_name(stat_name, stats::sanitized(match)));
}

// The first whose every label the endpoint has, with that value.
const Translator::TransportMatch* Translator::matching(const std::vector<TransportMatch>& matches,
                                                       const core_v3::Metadata& metadata) {
  const auto found = metadata.filter_metadata().find("envoy.transport_socket_match");
  const auto* labels = found == metadata.filter_metadata().end() ? nullptr : &found->second.fields();
  for (const TransportMatch& match : matches) {
    bool all = true;
    for (const auto& [name, value] : match.labels->fields()) {
      all = all && labels != nullptr && labels->contains(name) &&
            labels->at(name).SerializeAsString() == value.SerializeAsString();
    }
    if (all) return &match;
  }
  return nullptr;
}

}  // namespace millrace::config
