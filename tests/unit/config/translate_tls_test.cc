// TLS contexts of listeners and clusters: from messages to options, and to the transports of a Snapshot.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "config/reloadable_transport.h"
#include "config/translator.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "stats/names.h"
#include "stats/schema_ssl.h"
#include "unit/config/translated.h"
#include "unit/tls/pki.h"

namespace millrace::config {
namespace {

using testing::HasSubstr;
using tls::test::Issued;

constexpr const char* kDownstream = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
constexpr const char* kUpstream = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
constexpr const char* kCertificate = "tls_certificates: [{certificate_chain: {inline_string: C}, private_key: "
                                     "{inline_bytes: Sw==}}]";

// A message of this type, and what the translator makes of it.
template <class Message, class Options>
struct Read {
  Read(const std::string& type, const std::string& yaml, Options (Translator::*translate)(const Message&,
                                                                                          const std::string&)) {
    const Loaded loaded = load_message_text(type, yaml + "\n", "test", ConfigFormat::kYaml);
    EXPECT_TRUE(loaded.ok()) << loaded.diagnostics().to_string();
    Message message;
    EXPECT_TRUE(message.ParseFromString(loaded.message().SerializeAsString()));
    BuildContext context;
    Translator translator(diagnostics, context);
    options = (translator.*translate)(message, "tls");
  }
  Diagnostics diagnostics;
  Options options;
};
struct Server : Read<tls_v3::DownstreamTlsContext, tls::ServerOptions> {
  explicit Server(const std::string& fields, const std::string& common = kCertificate)
      : Read(kDownstream, "{common_tls_context: {" + common + "}" + (fields.empty() ? "" : ", ") + fields + "}",
             &Translator::tls_server) {}
};
struct Client : Read<tls_v3::UpstreamTlsContext, tls::ClientOptions> {
  explicit Client(const std::string& fields, const std::string& common = "")
      : Read(kUpstream, "{common_tls_context: {" + common + "}" + (fields.empty() ? "" : ", ") + fields + "}",
             &Translator::tls_client) {}
};

TEST(TranslateTls, ReadsWhatAServerIsToldTo) {
  const Server s("require_client_certificate: true, disable_stateless_session_resumption: true, "
                 "disable_stateful_session_resumption: true, session_timeout: 90s, ocsp_staple_policy: MUST_STAPLE, "
                 "full_scan_certs_on_sni_mismatch: true, prefer_client_ciphers: true");
  EXPECT_FALSE(s.diagnostics.has_errors()) << s.diagnostics.to_string();
  const tls::ServerOptions& o = s.options;
  EXPECT_TRUE(o.require_client_certificate && o.disable_stateless_resumption && o.disable_stateful_resumption &&
              o.full_scan_certs_on_sni_mismatch && o.prefer_client_ciphers);
  EXPECT_EQ(o.session_timeout, std::chrono::seconds(90));
  EXPECT_EQ(o.ocsp_staple_policy, tls::OcspStaplePolicy::kMustStaple);
  ASSERT_EQ(o.common.certificates.size(), 1u);
  EXPECT_EQ(o.common.certificates[0].chain.bytes, "C");
  EXPECT_EQ(o.common.certificates[0].private_key.bytes, "K");
  const Server keys("session_ticket_keys: {keys: [{inline_string: a}, {inline_string: b}]}");
  ASSERT_EQ(keys.options.session_ticket_keys.size(), 2u);
  EXPECT_EQ(keys.options.session_ticket_keys[1].bytes, "b");
  const Server plain("");
  EXPECT_FALSE(plain.options.require_client_certificate || plain.options.disable_stateless_resumption ||
               plain.options.disable_stateful_resumption || plain.options.session_timeout.has_value());
}

TEST(TranslateTls, ReadsWhatBothSidesHave) {
  const Client c("", "alpn_protocols: [h2, http/1.1], tls_params: {tls_minimum_protocol_version: TLSv1_1, "
                     "tls_maximum_protocol_version: TLSv1_3, cipher_suites: [A, B], ecdh_curves: [P-256], "
                     "signature_algorithms: [S]}, key_log: {path: /k, local_address_range: [{address_prefix: 10.0.0.0, "
                     "prefix_len: 8}], remote_address_range: [{address_prefix: '::', prefix_len: 0}]}");
  const tls::CommonOptions& o = c.options.common;
  EXPECT_EQ(o.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(o.parameters.version_min, tls::Version::kTls11);
  EXPECT_EQ(o.parameters.version_max, tls::Version::kTls13);
  EXPECT_EQ(o.parameters.cipher_suites.size() + o.parameters.ecdh_curves.size() +
                o.parameters.signature_algorithms.size(), 4u);
  EXPECT_EQ(o.key_log.path, "/k");
  EXPECT_EQ(o.key_log.local_ranges.size(), 1u);
  EXPECT_EQ(o.key_log.remote_ranges.size(), 1u);
  EXPECT_EQ(Client("").options.common.parameters.version_min, tls::Version::kAuto);
}

TEST(TranslateTls, ReadsWhatAClientIsToldTo) {
  const Client c("sni: a.test, allow_renegotiation: true, max_session_keys: 4, enforce_rsa_key_usage: true, "
                 "auto_host_sni: true, auto_sni_san_validation: true");
  EXPECT_EQ(c.options.sni, "a.test");
  EXPECT_TRUE(c.options.allow_renegotiation && c.options.enforce_rsa_key_usage && c.options.auto_host_sni &&
              c.options.auto_sni_san_validation);
  EXPECT_EQ(c.options.max_session_keys, 4u);
  EXPECT_EQ(Client("").options.max_session_keys, 1u);
  EXPECT_THAT(Client("", "tls_certificates: [{pkcs12: {inline_string: a}}, {pkcs12: {inline_string: b}}]")
                  .diagnostics.to_string(), HasSubstr("a client has one certificate at most"));
}

TEST(TranslateTls, ReadsWhomToTrust) {
  const Client c("", "validation_context: {trusted_ca: {inline_string: CA}, crl: {inline_string: R}, "
                     "only_verify_leaf_cert_crl: true, allow_expired_certificate: true, max_verify_depth: 3, "
                     "trust_chain_verification: ACCEPT_UNTRUSTED, verify_certificate_hash: [" + std::string(64, 'a') +
                     "], verify_certificate_spki: ['" + std::string(44, 'b') +
                     "'], match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://', ignore_case: "
                     "true}}, {san_type: OTHER_NAME, oid: 1.2.3, matcher: {exact: x}}]}");
  ASSERT_TRUE(c.options.common.validation.has_value()) << c.diagnostics.to_string();
  const tls::ValidationOptions& v = *c.options.common.validation;
  EXPECT_EQ(v.trusted_ca.bytes + v.crl.bytes, "CAR");
  EXPECT_TRUE(v.only_verify_leaf_cert_crl && v.allow_expired_certificate && v.accept_untrusted);
  EXPECT_EQ(v.max_verify_depth, 3u);
  EXPECT_EQ(v.certificate_hashes.size() + v.spki_hashes.size(), 2u);
  ASSERT_EQ(v.san_matchers.size(), 2u);
  EXPECT_EQ(v.san_matchers[0].type, tls::SanMatch::Type::kUri);
  EXPECT_EQ(v.san_matchers[0].matcher.kind, tls::StringMatch::Kind::kPrefix);
  EXPECT_TRUE(v.san_matchers[0].matcher.ignore_case);
  EXPECT_EQ(v.san_matchers[1].oid, "1.2.3");
  EXPECT_TRUE(Client("", "validation_context: {system_root_certs: {}}").options.common.validation->system_roots);
  const Client older("", "validation_context: {trusted_ca: {inline_string: CA}, match_subject_alt_names: "
                         "[{exact: a}]}");
  EXPECT_EQ(older.options.common.validation->san_matchers.size(), 4u) << "a name of any type";
  EXPECT_THAT(Client("", "validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]}")
                  .diagnostics.to_string(), HasSubstr("nothing says which certificates to trust"));
}

TEST(TranslateTls, WantsACertificateThatIsWhole) {
  EXPECT_THAT(Server("", "").diagnostics.to_string(), HasSubstr("a listener's TLS needs a certificate"));
  EXPECT_THAT(Server("", "tls_certificates: [{certificate_chain: {inline_string: C}}]").diagnostics.to_string(),
              HasSubstr("private_key is not set"));
  EXPECT_THAT(Server("", "tls_certificates: [{certificate_chain: {inline_string: C}, pkcs12: {inline_string: P}}]")
                  .diagnostics.to_string(), HasSubstr("pkcs12 has both the chain and the key"));
  EXPECT_THAT(Server("", "tls_certificates: [{certificate_chain: {filename: /no/such}, private_key: {inline_string: "
                         "K}}]").diagnostics.to_string(), HasSubstr("cannot read '/no/such'"));
  EXPECT_THAT(Server("", "tls_certificate_sds_secret_configs: [{name: s}]").diagnostics.to_string(),
              HasSubstr("there is no static secret 's'"));
}

// ---- in a configuration

class TranslateTransportTest : public testing::Test {
 protected:
  TranslateTransportTest() {
    folder = testing::TempDir() + "millrace_tls_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder);
    write("tls.crt", issued.pem());
    write("tls.key", issued.key_pem());
  }
  ~TranslateTransportTest() override { std::filesystem::remove_all(folder); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder + "/" + name) << text; }
  std::string pair() const {
    return "{certificate_chain: {filename: " + folder + "/tls.crt}, private_key: {filename: " + folder + "/tls.key}}";
  }
  static std::string socket(const std::string& type, const std::string& common) {
    return "{name: t, typed_config: " + typed(type, {{"common_tls_context", "{" + common + "}"}}) + "}";
  }
  TestConfig listener(const std::string& common) const {
    TestConfig config;
    config.listener["filter_chains"] = "[{name: main, transport_socket: " + socket(kDownstream, common) +
                                       ", filters: [{name: t, typed_config: " +
                                       typed(kTcpProxyType, {{"stat_prefix", "s"}, {"cluster", "c"}}) + "}]}]";
    return config;
  }
  Issued issued = Issued::self_signed({.common_name = "first"});
  std::string folder;
};

TEST_F(TranslateTransportTest, AChainGetsATransportThatCanBeReadAgain) {
  const Translated t(listener("tls_certificates: [" + pair() + "]"));
  ASSERT_TRUE(t.ok()) << t.messages();
  ASSERT_NE(t.listener().filter_chains[0].transport, nullptr);
  ASSERT_EQ(t.snapshot().transports.size(), 1u);
  ReloadableTransport& transport = *t.snapshot().transports[0];
  EXPECT_EQ(transport.name(), "listener 'l', filter chain 'main'");
  EXPECT_EQ(transport.files(), (std::vector<std::string>{folder + "/tls.crt", folder + "/tls.key"}));
  const auto before = transport.context();
  const Issued next = Issued::self_signed({.common_name = "second"});
  write("tls.crt", next.pem());
  EXPECT_FALSE(transport.reload().ok()) << "the key is that of another certificate";
  EXPECT_EQ(transport.context(), before);
  write("tls.key", next.key_pem());
  ASSERT_TRUE(transport.reload().ok()) << transport.reload().error().what;
  EXPECT_NE(transport.context()->certificate_chains()[0].serial_number,
            before->certificate_chains()[0].serial_number);
}

TEST_F(TranslateTransportTest, SecretsComeFromTheConfigurationOrFromAFile) {
  TestConfig config = listener("tls_certificate_sds_secret_configs: [{name: s, sds_config: {path_config_source: "
                               "{path: " + folder + "/sds.yaml}}}]");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("cannot read"));
  const std::string type = "\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
  write("sds.yaml", "resources: [{" + type + ", name: other}]\n");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("has no secret 's'"));
  write("sds.yaml", "resources: [{" + type + ", name: s, tls_certificate: " + pair() + "}]\n");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_EQ(t.snapshot().transports[0]->files().size(), 3u);
  EXPECT_TRUE(t.snapshot().transports[0]->reload().ok());
}

TEST_F(TranslateTransportTest, EachSideHasItsOwnTransports) {
  TestConfig config = listener("tls_certificates: [" + pair() + "]");
  config.cluster["transport_socket"] = socket(kDownstream, "tls_certificates: [" + pair() + "]");
  EXPECT_THAT(Translated(config).messages(), HasSubstr("is for listeners; a cluster has UpstreamTlsContext"));
  config.cluster["transport_socket"] = socket(kUpstream, "");
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  EXPECT_NE(t.cluster().hosts()[0]->transport(), nullptr);
  EXPECT_EQ(t.snapshot().transports.size(), 2u);
  config.cluster["transport_socket"] = "{name: envoy.transport_sockets.tls}";
  EXPECT_THAT(Translated(config).messages(), HasSubstr("has no typed_config"));
  config.cluster["transport_socket"] = "{name: envoy.transport_sockets.raw_buffer}";
  EXPECT_EQ(Translated(config).cluster().hosts()[0]->transport(), nullptr);
}

TEST_F(TranslateTransportTest, EndpointsChooseByMetadata) {
  TestConfig config;
  const auto endpoint = [](int port, const std::string& labels) {
    return "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: " + std::to_string(port) +
           "}}}, metadata: {filter_metadata: {envoy.transport_socket_match: " + labels + "}}}";
  };
  config.cluster["load_assignment"] = "{cluster_name: c, endpoints: [{lb_endpoints: [" + endpoint(1, "{tls: 'on'}") +
                                      ", " + endpoint(2, "{tls: 'off'}") + ", " + endpoint(3, "{}") + "]}]}";
  config.cluster["transport_socket"] = socket(kUpstream, "");
  config.cluster["transport_socket_matches"] =
      "[{name: a, match: {tls: 'on'}, transport_socket: " + socket(kUpstream, "") +
      "}, {name: b, match: {tls: 'off'}, transport_socket: {name: envoy.transport_sockets.raw_buffer}}]";
  const Translated t(config);
  ASSERT_TRUE(t.ok()) << t.messages();
  const auto hosts = t.cluster().hosts();
  const net::TransportFactory* own = t.cluster_options().transport.get();
  EXPECT_NE(hosts[0]->transport(), nullptr);
  EXPECT_NE(hosts[0]->transport(), own);
  EXPECT_EQ(hosts[1]->transport(), nullptr);
  EXPECT_EQ(hosts[2]->transport(), own);
}

TEST_F(TranslateTransportTest, APrivateKeyIsNeverShown) {
  TestConfig config = listener("tls_certificates: [{certificate_chain: {filename: " + folder +
                               "/tls.crt}, private_key: {inline_string: no key at all}}]");
  const Translated t(config);
  EXPECT_FALSE(t.ok());
  EXPECT_THAT(t.messages(), testing::Not(HasSubstr("no key at all")));
}

TEST_F(TranslateTransportTest, ProxyHeadersTellHttpHostsWhoseRequestItIs) {
  TestConfig config;
  config.cluster["transport_socket"] =
      "{name: p, typed_config: " +
      typed("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            {{"config", "{version: V2}"}, {"transport_socket", "{name: envoy.transport_sockets.raw_buffer}"}}) + "}";
  const Translated http(config);
  ASSERT_TRUE(http.ok()) << http.messages();
  EXPECT_TRUE(http.cluster().hosts()[0]->transport()->tells_source());
  config.tcp = {{"stat_prefix", "s"}, {"cluster", "c"}};
  EXPECT_TRUE(Translated(config).ok());
}

TEST_F(TranslateTransportTest, TheHostOfARequestMayBeTheServerName) {
  const std::string fields = "{auto_sni: true, auto_san_validation: true, override_auto_sni_header: X-Name}";
  TestConfig old_fields;
  old_fields.cluster["upstream_http_protocol_options"] = fields;
  TestConfig config;
  const char* type = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  config.cluster["typed_extension_protocol_options"] =
      "{" + std::string(type) + ": " + typed(type, {{"explicit_http_config", "{http_protocol_options: {}}"},
                                                    {"upstream_http_protocol_options", fields}}) + "}";
  for (const TestConfig& one : {old_fields, config}) {
    const Translated t(one);
    ASSERT_TRUE(t.ok()) << t.messages();
    const upstream::HttpOptions& http = t.cluster_options().http;
    EXPECT_TRUE(http.auto_sni && http.auto_san_validation);
    EXPECT_EQ(http.override_auto_sni_header, "x-name");
  }
  EXPECT_FALSE(Translated(TestConfig()).cluster_options().http.auto_sni);
}

}  // namespace
}  // namespace millrace::config
