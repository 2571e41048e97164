#include "tls/context.h"

#include <gtest/gtest.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;

ServerOptions with(CertificateOptions certificate) {
  ServerOptions options;
  options.common.certificates = {std::move(certificate)};
  return options;
}

bool works(const ServerOptions& options) {
  const ContextPtr server = make(options);
  return server != nullptr && Pair(server, make(client_options())).established();
}

TEST(Certificates, ComeAsPemEncryptedOrPkcs12) {
  const Issued& leaf = World::get().server;
  EXPECT_TRUE(works(with(leaf.options())));
  CertificateOptions encrypted = leaf.options();
  encrypted.private_key = inline_source(leaf.key_pem("open sesame"));
  encrypted.password = inline_source("open sesame");
  EXPECT_TRUE(works(with(encrypted)));
  encrypted.password = {"open sesame\n", "/etc/password"};  // a file ends in a newline
  EXPECT_TRUE(works(with(encrypted)));
  CertificateOptions archive;
  archive.pkcs12 = inline_source(leaf.pkcs12("pw", {&World::get().root}));
  archive.password = inline_source("pw");
  EXPECT_TRUE(works(with(archive)));
}

TEST(Certificates, ThatCannotServeAreRefusedByFileAndReason) {
  const Issued& leaf = World::get().server;
  const auto named = [](const Issued& issued) {
    CertificateOptions options = issued.options();
    options.chain.file = "/tls/cert.pem";
    options.private_key.file = "/tls/key.pem";
    return options;
  };
  CertificateOptions options = named(leaf);
  options.private_key.bytes = World::get().client.key_pem();
  EXPECT_EQ(refusal(with(options)), "private key /tls/key.pem does not belong to certificate /tls/cert.pem");
  options = named(leaf);
  options.private_key.bytes = leaf.key_pem("secret");
  EXPECT_TRUE(refusal(with(options)).starts_with("private key /tls/key.pem cannot be read: "))
      << refusal(with(options));
  options.password = inline_source("wrong");
  EXPECT_NE(refusal(with(options)).find("the password its own"), std::string::npos) << refusal(with(options));
  EXPECT_EQ(refusal(with(options)).find("wrong"), std::string::npos);  // no password in an error
  options = named(leaf);
  options.chain.bytes = "hello";
  EXPECT_EQ(refusal(with(options)), "certificate chain /tls/cert.pem holds no certificate in PEM");
  options.chain.bytes = leaf.pem().substr(0, 200);
  EXPECT_TRUE(refusal(with(options)).starts_with("certificate chain /tls/cert.pem is broken PEM: "))
      << refusal(with(options));
  options = named(leaf);
  options.private_key.bytes.clear();
  EXPECT_EQ(refusal(with(options)), "private_key is empty: /tls/key.pem, of certificate /tls/cert.pem");
  options = {};
  options.pkcs12 = {leaf.pkcs12("right"), "/tls/a.p12"};
  options.password = inline_source("false");
  EXPECT_TRUE(refusal(with(options)).starts_with("PKCS #12 /tls/a.p12 cannot be read: ")) << refusal(with(options));
  EXPECT_EQ(refusal(ServerOptions()), "a downstream TLS context needs a certificate");
}

TEST(Certificates, NeedAStrongKeyOfAKnownKind) {
  const Issued small = World::get().root.issue({.common_name = "s", .key = KeyKind::kRsa1024});
  EXPECT_NE(refusal(with(small.options())).find("shorter than 2048 bits"), std::string::npos);
  const Issued edwards = World::get().root.issue({.common_name = "e", .key = KeyKind::kEd25519});
  EXPECT_NE(refusal(with(edwards.options())).find("neither RSA nor ECDSA"), std::string::npos);
  const Issued p384 =
      World::get().root.issue({.common_name = "p", .sans = "DNS:server.example", .key = KeyKind::kP384});
  EXPECT_TRUE(works(with(p384.options())));
  const Issued rsa = World::get().root.issue({.common_name = "r", .key = KeyKind::kRsa2048});
  EXPECT_TRUE(works(with(rsa.options())));
}

TEST(Certificates, ThatHaveExpiredAreServedAsInEnvoy) {
  const Issued expired = World::get().root.issue({.common_name = "x", .valid_from_days = -9, .valid_until_days = -1});
  const ContextPtr context = make(with(expired.options()));
  ASSERT_NE(context, nullptr);
  EXPECT_EQ(context->certificate_chains()[0].days_until_expiration(std::chrono::system_clock::now()), 0u);
}

TEST(Parameters, AreRefusedByName) {
  ServerOptions options = server_options();
  options.common.parameters.cipher_suites = {"ECDHE-RSA-AES128-GCM-SHA256", "NO-SUCH-CIPHER"};
  EXPECT_EQ(refusal(options), "cipher_suites: not known: NO-SUCH-CIPHER");
  options = server_options();
  options.common.parameters.ecdh_curves = {"P-256", "P-1"};
  EXPECT_EQ(refusal(options), "ecdh_curves: not known: P-1");
  options = server_options();
  options.common.parameters.signature_algorithms = {"rsa_pss_rsae_sha256", "md2"};
  EXPECT_EQ(refusal(options), "signature_algorithms: not known: md2");
  options = server_options();
  options.common.parameters.version_min = Version::kTls13;
  options.common.parameters.version_max = Version::kTls12;
  EXPECT_NE(refusal(options).find("above tls_maximum_protocol_version"), std::string::npos);
  options = server_options();
  options.common.alpn = {""};
  EXPECT_NE(refusal(options).find("alpn_protocols"), std::string::npos);
}

TEST(Parameters, DecideTheCipherAndTheCurve) {
  ServerOptions server = server_options();
  server.common.parameters.version_max = Version::kTls12;
  server.common.parameters.cipher_suites = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"};
  server.common.parameters.ecdh_curves = {"P-384", "P-256"};
  ClientOptions client = client_options();
  client.common.parameters.ecdh_curves = {"X25519", "P-256", "P-384"};
  client.common.parameters.version_max = Version::kTls12;
  const auto cipher = [&] {
    return std::string(Pair(make(server), make(client)).server().transport->facts()->cipher());
  };
  EXPECT_EQ(cipher(), "ECDHE-ECDSA-AES256-GCM-SHA384");  // the server's order
  EXPECT_EQ(Pair(make(server), make(client)).server().transport->facts()->group(), "P-384");
  server.prefer_client_ciphers = true;
  EXPECT_EQ(cipher(), "ECDHE-ECDSA-AES128-GCM-SHA256");
  EXPECT_EQ(Pair(make(server), make(client)).server().transport->facts()->group(), "P-256");
}

TEST(Selection, GoesByNameThenByKind) {
  const Issued& root = World::get().root;
  const auto leaf = [&](const std::string& sans, KeyKind key) {
    return root.issue({.common_name = "c", .sans = sans, .key = key});
  };
  const Issued first = leaf("DNS:first.example", KeyKind::kP256);
  const Issued rsa = leaf("DNS:a.example,DNS:*.wild.example", KeyKind::kRsa2048);
  const Issued ecdsa = leaf("DNS:a.example", KeyKind::kP256);
  const Issued exact = leaf("DNS:x.wild.example", KeyKind::kP256);
  const Issued p384 = leaf("DNS:p384.example", KeyKind::kP384);
  const Issued named = root.issue({.common_name = "cn.example"});
  ServerOptions options;
  options.common.certificates = {first.options(), rsa.options(),  ecdsa.options(),
                                 exact.options(), p384.options(), named.options()};
  const auto serial = [&](std::string_view name, Version version = Version::kTls13,
                          std::vector<std::string> ciphers = {}, std::vector<std::string> algorithms = {}) {
    ClientOptions client = client_options();
    client.sni.clear();
    client.common.parameters.version_max = version;
    client.common.parameters.cipher_suites = std::move(ciphers);
    client.common.parameters.signature_algorithms = std::move(algorithms);
    Pair pair(make(options), make(client), ask(name));
    EXPECT_TRUE(pair.established()) << name << pair.server().error;
    if (!pair.established()) return std::string();
    const std::string local = pair.server().transport->facts()->local_certificate().serial;
    EXPECT_EQ(local, pair.client().transport->facts()->peer_certificate().serial);
    return local;
  };
  EXPECT_EQ(serial("a.example"), ecdsa.serial());
  EXPECT_EQ(serial("A.Example"), ecdsa.serial());
  EXPECT_EQ(serial("a.example", Version::kTls12), ecdsa.serial());
  EXPECT_EQ(serial("a.example", Version::kTls12, {"ECDHE-RSA-AES128-GCM-SHA256"}), rsa.serial());
  EXPECT_EQ(serial("a.example", Version::kTls13, {}, {"rsa_pss_rsae_sha256"}), rsa.serial());
  EXPECT_EQ(serial("any.wild.example"), rsa.serial());
  EXPECT_EQ(serial("x.wild.example"), exact.serial());
  EXPECT_EQ(serial("y.x.wild.example"), first.serial());  // one label only
  EXPECT_EQ(serial("p384.example"), p384.serial());
  EXPECT_EQ(serial("cn.example"), named.serial());
  EXPECT_EQ(serial("nobody.example"), first.serial());
  EXPECT_EQ(serial(""), first.serial());
  EXPECT_EQ(serial("", Version::kTls13, {}, {"rsa_pss_rsae_sha256"}), rsa.serial());
  options.full_scan_certs_on_sni_mismatch = true;
  EXPECT_EQ(serial("nobody.example", Version::kTls13, {}, {"rsa_pss_rsae_sha256"}), rsa.serial());
}

TEST(Facts, SayWhoIsThere) {
  ServerOptions options = server_options();
  options.common.validation.emplace();
  options.common.validation->trusted_ca = inline_source(World::get().root.pem());
  ClientOptions client = client_options();
  client.common.certificates = {World::get().client.options({&World::get().root})};
  Pair pair(make(options), make(client));
  const auto facts = pair.server().transport->facts();
  ASSERT_NE(facts, nullptr) << pair.server().error;
  EXPECT_EQ(facts, pair.server().transport->facts());
  EXPECT_EQ(facts->cipher(), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(facts->group(), "X25519");
  EXPECT_EQ(facts->server_name(), "server.example");
  const net::CertificateFacts& peer = facts->peer_certificate();
  EXPECT_EQ(peer.subject, "CN=client,O=Test\\, Inc");
  EXPECT_EQ(peer.issuer, "CN=Root,O=Test\\, Inc");
  EXPECT_EQ(peer.serial, World::get().client.serial());
  EXPECT_EQ(peer.fingerprint_256, World::get().client.sha256_hex());
  EXPECT_EQ(peer.fingerprint_1.size(), 40u);
  EXPECT_EQ(peer.dns_sans, std::vector<std::string>{"client.example"});
  EXPECT_EQ(peer.ip_sans, std::vector<std::string>{"10.1.2.3"});
  EXPECT_EQ(peer.email_sans, std::vector<std::string>{"me@client.example"});
  EXPECT_EQ(peer.chain_serials, (std::vector<std::string>{World::get().client.serial(), World::get().root.serial()}));
  EXPECT_EQ(peer.issuer_fingerprint_256, World::get().root.sha256_hex());
  EXPECT_LT(peer.valid_from, std::chrono::system_clock::now());
  EXPECT_GT(peer.valid_until, std::chrono::system_clock::now() + std::chrono::days(29));
  EXPECT_EQ(facts->local_certificate().serial, World::get().server.serial());
  std::string pem = facts->peer_pem_url_encoded();
  EXPECT_TRUE(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII")) << pem;
  EXPECT_TRUE(pem.ends_with("-----END%20CERTIFICATE-----%0A")) << pem;
  EXPECT_EQ(pem.find_first_of("+/= \n"), std::string::npos);
  for (const auto& [code, text] : {std::pair{"%0A", "\n"}, {"%20", " "}, {"%2B", "+"}, {"%2F", "/"}, {"%3D", "="}}) {
    for (size_t at; (at = pem.find(code)) != std::string::npos;) pem.replace(at, 3, text);
  }
  EXPECT_EQ(pem, World::get().client.pem());
  EXPECT_GT(facts->peer_chain_pem_url_encoded().size(), pem.size() * 3 / 2);
}

TEST(Facts, OutliveTheirTransport) {
  std::shared_ptr<const net::TransportFacts> facts;
  {
    ClientOptions client = client_options();
    Pair pair(make(server_options()), make(client));
    facts = pair.client().transport->facts();
  }
  EXPECT_EQ(facts->peer_certificate().dns_sans.size(), 2u);
  EXPECT_EQ(facts->local_certificate().serial, "");
  EXPECT_EQ(facts->version(), "TLSv1.3");
}

TEST(Stats, CountHandshakesByWhatTheyAgreedOn) {
  Counters server, client;
  Pair pair(make(server_options(), server.block), make(client_options(), client.block));
  ASSERT_TRUE(pair.established());
  EXPECT_EQ(server(stats::tls::kHandshake), 1);
  EXPECT_EQ(server(stats::tls::kNoCertificate), 1);
  EXPECT_EQ(server(stats::tls::kVersionTls13), 1);
  EXPECT_EQ(server(stats::tls::kCurveX25519), 1);
  EXPECT_EQ(server(stats::tls::kCipherAes128GcmSha256), 1);
  EXPECT_EQ(server(stats::tls::kSigalgEcdsaP256), 0);  // the peer's, which signed nothing
  EXPECT_EQ(client(stats::tls::kSigalgEcdsaP256), 1);
  EXPECT_EQ(client(stats::tls::kNoCertificate), 0);
}

TEST(Stats, KnowEveryNameThatTheLibraryHas) {
  const auto expect = [](const std::string& name) {
    const auto& all = stats::tls::kStats;
    EXPECT_TRUE(std::any_of(std::begin(all), std::end(all), [&](const auto& stat) { return stat.name == name; }))
        << name;
  };
  size_t found = 0;
  for (unsigned id = 1; id < 0x10000; ++id) {
    const uint16_t value = static_cast<uint16_t>(id);
    const SSL_CIPHER* cipher = SSL_get_cipher_by_value(value);
    // Pre-shared keys are never configured, MD5 with SHA-1 is what TLS 1.1 and older sign, unnamed.
    if (cipher != nullptr && std::string_view(SSL_CIPHER_get_name(cipher)).find("PSK") == std::string_view::npos &&
        SSL_CIPHER_get_cipher_nid(cipher) != NID_undef) {
      expect(std::string("ciphers.") + SSL_CIPHER_get_name(cipher));
      ++found;
    }
    if (const char* curve = SSL_get_curve_name(value)) expect(std::string("curves.") + curve);
    const char* algorithm = SSL_get_signature_algorithm_name(value, 1);
    if (algorithm != nullptr && value != SSL_SIGN_RSA_PKCS1_MD5_SHA1) expect(std::string("sigalgs.") + algorithm);
  }
  EXPECT_GE(found, 16u);
}

TEST(Details, AreWhatTheAdminPageShows) {
  ServerOptions options = server_options();
  options.common.certificates[0].chain.file = "/tls/cert.pem";
  options.common.certificates[0].ocsp_staple = inline_source(World::get().server.ocsp_response(3));
  options.common.validation.emplace();
  options.common.validation->trusted_ca = {World::get().root.pem(), "/tls/ca.pem"};
  const ContextPtr context = make(options);
  ASSERT_NE(context, nullptr);
  const CertificateDetails details = context->certificate_chains().at(0);
  EXPECT_EQ(details.path, "/tls/cert.pem");
  EXPECT_EQ(details.serial_number, World::get().server.serial());
  EXPECT_EQ(details.dns_sans, (std::vector<std::string>{"server.example", "*.wild.example"}));
  EXPECT_EQ(details.days_until_expiration(std::chrono::system_clock::now()), 29u);
  ASSERT_TRUE(details.ocsp.has_value());
  EXPECT_GT(*details.ocsp->expiration, details.ocsp->valid_from);
  EXPECT_EQ(context->authority()->path, "/tls/ca.pem");
  EXPECT_EQ(context->authority()->serial_number, World::get().root.serial());
  EXPECT_EQ(context->first_expiration(), std::min(details.expiration_time, context->authority()->expiration_time));
}

TEST(Details, StatisticsNameACertificateByItsSecretOrByWhereItCameFrom) {
  const auto names = [](const ServerOptions& options) {
    const ContextPtr context = make(options);
    return std::pair(context->certificate_chains().at(0).stat_name, context->authority()->stat_name);
  };
  ServerOptions options = server_options();
  options.common.validation.emplace();
  options.common.validation->trusted_ca = {World::get().root.pem(), "/tls/ca.pem"};
  const std::string inlined = names(options).first;
  EXPECT_TRUE(inlined.starts_with("unnamed_cert_")) << inlined;
  EXPECT_EQ(names(options).first, inlined);
  EXPECT_TRUE(names(options).second.starts_with("unnamed_ca_cert_")) << names(options).second;
  options.common.certificates = {World::get().client.options()};
  EXPECT_NE(names(options).first, inlined) << "another certificate";
  options.common.certificates[0].chain.file = "/tls/cert.pem";
  const std::string of_file = names(options).first;
  options.common.certificates = {World::get().server.options()};
  options.common.certificates[0].chain.file = "/tls/cert.pem";
  EXPECT_EQ(names(options).first, of_file) << "renewed, it is the same";
  options.common.certificates[0].name = "mine";
  options.common.validation->name = "theirs";
  EXPECT_EQ(names(options), std::pair(std::string("mine"), std::string("theirs")));
}

TEST(KeyUsage, ACertificateUsedForWhatItIsNotMeantForIsCountedOrRefused) {
  const World& world = World::get();
  const auto issued = [&](const char* usage) {
    return world.root.issue({.common_name = "server", .sans = "DNS:server.example", .key = KeyKind::kRsa2048,
                             .key_usage = usage});
  };
  const Issued wrong = issued("keyEncipherment"), right = issued("digitalSignature"), silent = issued("");
  const auto counted = [](const Issued& certificate, bool enforce) {
    ServerOptions server = server_options();
    server.common.certificates = {certificate.options()};
    ClientOptions client = client_options();
    client.common.parameters.version_max = Version::kTls12;
    client.enforce_rsa_key_usage = enforce;
    Counters counters;
    Pair pair(make(server), make(client, counters.block));
    return pair.established() ? static_cast<int>(counters(stats::tls::kWasKeyUsageInvalid)) : -1;
  };
  EXPECT_EQ(counted(wrong, false), 1);
  EXPECT_EQ(counted(right, false), 0);
  EXPECT_EQ(counted(silent, false), 0);
  EXPECT_EQ(counted(wrong, true), -1);
  EXPECT_EQ(counted(right, true), 0);
}

TEST(KeyLog, WritesTheSecretsOfChosenConnections) {
  char path[] = "/tmp/millrace-keylog-XXXXXX";
  ::close(::mkstemp(path));
  ServerOptions options = server_options();
  options.common.key_log.path = path;
  net::Cidr range;
  range.prefix = *net::Address::parse_ip("10.0.0.0", 0);
  range.length = 8;
  options.common.key_log.remote_ranges = {range};
  const ContextPtr server = make(options), client = make(client_options());
  const auto lines_after = [&](const net::Address* remote) {
    net::TransportFactory::Ask with_address;
    with_address.remote_address = remote;
    End end{server->create(with_address), {}, {}, {}}, other{client->create({}), {}, {}, {}};
    base::Buffer up, down;
    other.take(other.transport->start(up));
    for (int i = 0; i < 3; ++i) {
      end.take(end.transport->receive(up, end.plain, down));
      other.take(other.transport->receive(down, other.plain, up));
    }
    EXPECT_TRUE(end.transport->established());
    std::ifstream file(path);
    return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  };
  const net::Address outside = *net::Address::parse_ip("192.168.0.1", 1),
                     inside = *net::Address::parse_ip("10.9.9.9", 1);
  EXPECT_EQ(lines_after(nullptr), 0);
  EXPECT_EQ(lines_after(&outside), 0);
  EXPECT_GE(lines_after(&inside), 4);
  ::unlink(path);
  options.common.key_log.path = "/nonexistent/folder/log";
  EXPECT_EQ(refusal(options), "key log /nonexistent/folder/log");
}

}  // namespace
}  // namespace millrace::tls
