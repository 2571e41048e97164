// mTLS: each rule of a validation context lets the right client in and keeps the wrong one out, with Envoy's reason and
// counter.
#include <gtest/gtest.h>

#include "tls/san_matcher.h"
#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;

// Trusts the root, and has to be shown a certificate.
ServerOptions mutual() {
  ServerOptions options = server_options();
  options.common.validation.emplace();
  options.common.validation->trusted_ca = inline_source(World::get().root.pem());
  options.require_client_certificate = true;
  return options;
}

struct Outcome {
  bool accepted;
  bool validated;
  std::string reason;  // the server's
};

// TLS 1.2: there a refused client does not believe that it is connected.
Outcome meet(const ServerOptions& server, const Issued* who, stats::StatBlockPtr stats = nullptr,
             const std::vector<const Issued*>& chain = {}) {
  ClientOptions client = client_options();
  client.common.parameters.version_max = Version::kTls12;
  if (who != nullptr) client.common.certificates = {who->options(chain)};
  const ContextPtr context = make(server, std::move(stats));
  if (context == nullptr) return {false, false, "no context"};
  Pair pair(context, make(client));
  const auto facts = pair.server().transport->facts();
  return {pair.established(), facts != nullptr && facts->peer_certificate_validated(), pair.server().error};
}

ServerOptions with_san(SanMatch::Type type, StringMatch::Kind kind, std::string value, bool ignore_case = false) {
  ServerOptions options = mutual();
  options.common.validation->san_matchers = {{type, {kind, std::move(value), ignore_case}, {}}};
  return options;
}

bool san_accepted(SanMatch::Type type, StringMatch::Kind kind, std::string value, bool ignore_case = false) {
  return meet(with_san(type, kind, std::move(value), ignore_case), &World::get().client).accepted;
}

TEST(Validation, AsksForACertificateOfTheTrustedAuthority) {
  const Outcome outcome = meet(mutual(), &World::get().client);
  EXPECT_TRUE(outcome.accepted) << outcome.reason;
  EXPECT_TRUE(outcome.validated);
}

TEST(Validation, RefusesAClientWithoutCertificateWhereOneIsRequired) {
  Counters counters;
  const Outcome outcome = meet(mutual(), nullptr, counters.block);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find("PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate:"
                                "TLS_error_end"),
            std::string::npos)
      << outcome.reason;
  EXPECT_EQ(counters(stats::tls::kFailVerifyNoCert), 1);
  EXPECT_EQ(counters(stats::tls::kConnectionError), 0);
}

TEST(Validation, LetsAClientWithoutCertificateInWhereNoneIsRequired) {
  ServerOptions options = mutual();
  options.require_client_certificate = false;
  Counters counters;
  EXPECT_TRUE(meet(options, nullptr, counters.block).accepted);
  EXPECT_EQ(counters(stats::tls::kNoCertificate), 1);
  EXPECT_TRUE(meet(options, &World::get().client).validated);
}

TEST(Validation, RefusesAStrangersCertificateAndSaysWhy) {
  const Issued stranger = World::get().other_root.issue({.common_name = "stranger"});
  Counters counters;
  const Outcome outcome = meet(mutual(), &stranger, counters.block);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find("CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate "
                                "verification error at depth 0: unable to get local issuer certificate:TLS_error_end"),
            std::string::npos)
      << outcome.reason;
  EXPECT_EQ(counters(stats::tls::kFailVerifyError), 1);
  EXPECT_EQ(counters(stats::tls::kConnectionError), 0);
}

TEST(Validation, WithoutAContextTakesAnyCertificateButVouchesForNone) {
  const Issued stranger = World::get().other_root.issue({.common_name = "stranger"});
  ServerOptions options = server_options();
  options.require_client_certificate = true;
  const Outcome outcome = meet(options, &stranger);
  EXPECT_TRUE(outcome.accepted) << outcome.reason;
  EXPECT_FALSE(outcome.validated);
}

TEST(Validation, AcceptUntrustedLetsAnybodyInUnvalidated) {
  const Issued stranger = World::get().other_root.issue({.common_name = "stranger"});
  ServerOptions options = mutual();
  options.require_client_certificate = false;
  options.common.validation->accept_untrusted = true;
  Counters counters;
  const Outcome outcome = meet(options, &stranger, counters.block);
  EXPECT_TRUE(outcome.accepted) << outcome.reason;
  EXPECT_FALSE(outcome.validated);
  EXPECT_EQ(counters(stats::tls::kFailVerifyError), 1);
  EXPECT_TRUE(meet(options, &World::get().client).validated);
  EXPECT_TRUE(meet(options, nullptr).accepted);
}

TEST(Validation, LooksAtTheTimeUnlessToldNotTo) {
  const Issued expired = World::get().root.issue({.common_name = "old", .valid_from_days = -9, .valid_until_days = -3});
  const Outcome outcome = meet(mutual(), &expired);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find("certificate has expired"), std::string::npos) << outcome.reason;
  ServerOptions tolerant = mutual();
  tolerant.common.validation->allow_expired_certificate = true;
  EXPECT_TRUE(meet(tolerant, &expired).accepted);
  const Issued both = World::get().other_root.issue({.common_name = "x", .valid_until_days = -1});
  EXPECT_FALSE(meet(tolerant, &both).accepted);  // only the time is forgiven
}

TEST(Validation, LooksAtThePurpose) {
  const Issued server_only = World::get().root.issue({.common_name = "s", .usage = "serverAuth"});
  EXPECT_FALSE(meet(mutual(), &server_only).accepted);
  const Issued client_only = World::get().root.issue({.common_name = "c", .usage = "clientAuth"});
  EXPECT_TRUE(meet(mutual(), &client_only).accepted);
}

TEST(Validation, FollowsAChainAndLimitsItsDepth) {
  const Issued middle = World::get().root.issue({.common_name = "middle", .is_authority = true});
  const Issued leaf = middle.issue({.common_name = "leaf"});
  EXPECT_FALSE(meet(mutual(), &leaf).accepted);
  EXPECT_TRUE(meet(mutual(), &leaf, nullptr, {&middle}).accepted);
  ServerOptions shallow = mutual();
  shallow.common.validation->max_verify_depth = 0;
  EXPECT_FALSE(meet(shallow, &leaf, nullptr, {&middle}).accepted);
  shallow.common.validation->max_verify_depth = 2;
  EXPECT_TRUE(meet(shallow, &leaf, nullptr, {&middle}).accepted);
  ServerOptions middle_only = mutual();  // an intermediate may be all that is trusted
  middle_only.common.validation->trusted_ca = inline_source(middle.pem());
  EXPECT_TRUE(meet(middle_only, &leaf).accepted);
  EXPECT_FALSE(meet(middle_only, &World::get().client).accepted);
}

TEST(Validation, MatchesEveryTypeOfName) {
  using Type = SanMatch::Type;
  using Kind = StringMatch::Kind;
  EXPECT_TRUE(san_accepted(Type::kDns, Kind::kExact, "client.example"));
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kExact, "spiffe://mesh/ns/a"));
  EXPECT_TRUE(san_accepted(Type::kEmail, Kind::kExact, "me@client.example"));
  EXPECT_TRUE(san_accepted(Type::kIpAddress, Kind::kExact, "10.1.2.3"));
  EXPECT_FALSE(san_accepted(Type::kDns, Kind::kExact, "10.1.2.3"));
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kExact, "client.example"));
  EXPECT_FALSE(san_accepted(Type::kEmail, Kind::kExact, "spiffe://mesh/ns/a"));
  EXPECT_FALSE(san_accepted(Type::kIpAddress, Kind::kExact, "10.1.2.4"));
}

TEST(Validation, MatchesOtherNamesByTheirOid) {
  const Issued leaf = World::get().root.issue(
      {.common_name = "upn", .sans = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:me@corp,DNS:x.example"});
  ServerOptions options = mutual();
  options.common.validation->san_matchers = {
      {SanMatch::Type::kOtherName, {StringMatch::Kind::kSuffix, "@corp", false}, "1.3.6.1.4.1.311.20.2.3"}};
  EXPECT_TRUE(meet(options, &leaf).accepted);
  options.common.validation->san_matchers[0].oid = "1.2.3";
  EXPECT_FALSE(meet(options, &leaf).accepted);
  options.common.validation->san_matchers[0].oid.clear();
  EXPECT_NE(refusal(options).find("needs the oid"), std::string::npos);
}

TEST(Validation, MatchesNamesInEveryWay) {
  using Type = SanMatch::Type;
  using Kind = StringMatch::Kind;
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kPrefix, "spiffe://mesh/"));
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kPrefix, "spiffe://other/"));
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kSuffix, "/a"));
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kSuffix, "/b"));
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kContains, "/ns/"));
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kContains, "/sa/"));
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kRegex, "spiffe://[a-z]+/ns/."));
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kRegex, "spiffe://[a-z]+"));  // the whole name
  EXPECT_FALSE(san_accepted(Type::kUri, Kind::kExact, "SPIFFE://mesh/ns/A"));
  EXPECT_TRUE(san_accepted(Type::kUri, Kind::kExact, "SPIFFE://mesh/ns/A", true));
  EXPECT_NE(refusal(with_san(Type::kUri, Kind::kRegex, "(")).find("regex \"(\""), std::string::npos);
}

TEST(Validation, CountsAndNamesANameThatDoesNotMatch) {
  Counters counters;
  const Outcome outcome = meet(with_san(SanMatch::Type::kDns, StringMatch::Kind::kExact, "nobody.example"),
                               &World::get().client, counters.block);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find(":verify cert failed: SAN matcher, certificate SANs are [spiffe://mesh/ns/a, "
                                "client.example, me@client.example, 10.1.2.3]:TLS_error_end"),
            std::string::npos)
      << outcome.reason;
  EXPECT_EQ(counters(stats::tls::kFailVerifySan), 1);
}

TEST(Validation, DnsNamesOfCertificatesMayBeginWithAWildcard) {
  EXPECT_TRUE(dns_name_matches("a.example.com", "*.example.com"));
  EXPECT_TRUE(dns_name_matches("A.Example.com", "a.eXample.com"));
  EXPECT_TRUE(dns_name_matches("foobar.example.com", "f*r.example.com"));
  EXPECT_FALSE(dns_name_matches("a.b.example.com", "*.example.com"));
  EXPECT_FALSE(dns_name_matches("example.com", "*.example.com"));
  EXPECT_FALSE(dns_name_matches("a.example.com", "*.*.com"));
  EXPECT_FALSE(dns_name_matches("xn--abc.example.com", "xn--*.example.com"));
  EXPECT_FALSE(dns_name_matches("com", "*"));
  EXPECT_FALSE(dns_name_matches("fr.example.com", "f*rr.example.com"));
}

TEST(Validation, TakesAPinOfEitherList) {
  const Issued& client = World::get().client;
  const std::string other_hash = World::get().server.sha256_hex();
  Counters counters;
  ServerOptions options = mutual();
  options.common.validation->certificate_hashes = {other_hash, client.sha256_hex()};
  EXPECT_TRUE(meet(options, &client).accepted);
  options.common.validation->certificate_hashes = {client.sha256_hex(true)};
  EXPECT_TRUE(meet(options, &client).accepted);
  options.common.validation->certificate_hashes = {other_hash};
  const Outcome outcome = meet(options, &client, counters.block);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find(":verify cert failed: cert hash and spki:"), std::string::npos) << outcome.reason;
  EXPECT_EQ(counters(stats::tls::kFailVerifyCertHash), 1);
  options.common.validation->spki_hashes = {client.spki_sha256_base64()};
  EXPECT_TRUE(meet(options, &client).accepted);
  options.common.validation->spki_hashes = {World::get().server.spki_sha256_base64()};
  EXPECT_FALSE(meet(options, &client).accepted);
}

TEST(Validation, PinsAloneNeedNoAuthorityButACertificate) {
  ServerOptions options = server_options();
  options.common.validation.emplace();
  options.common.validation->spki_hashes = {World::get().client.spki_sha256_base64()};
  EXPECT_TRUE(meet(options, &World::get().client).validated);
  EXPECT_FALSE(meet(options, &World::get().server).accepted);
  EXPECT_FALSE(meet(options, nullptr).accepted);
}

TEST(Validation, RefusesBrokenPins) {
  ServerOptions options = mutual();
  options.common.validation->certificate_hashes = {"abc"};
  EXPECT_NE(refusal(options).find("verify_certificate_hash: no SHA-256 in hex: abc"), std::string::npos);
  options.common.validation->certificate_hashes.clear();
  options.common.validation->spki_hashes = {"!!!"};
  EXPECT_NE(refusal(options).find("verify_certificate_spki: no SHA-256 in base64: !!!"), std::string::npos);
}

TEST(Validation, HeedsRevocationLists) {
  const World& world = World::get();
  ServerOptions options = mutual();
  options.common.validation->crl = inline_source(world.root.crl_pem({&world.client}));
  const Outcome outcome = meet(options, &world.client);
  EXPECT_FALSE(outcome.accepted);
  EXPECT_NE(outcome.reason.find("certificate revoked"), std::string::npos) << outcome.reason;
  const Issued other = world.root.issue({.common_name = "other"});
  EXPECT_TRUE(meet(options, &other).accepted);
  options.common.validation->crl = {};  // a list may stand among the authorities as well
  options.common.validation->trusted_ca.bytes += world.root.crl_pem({&world.client});
  EXPECT_FALSE(meet(options, &world.client).accepted);
  EXPECT_TRUE(meet(options, &other).accepted);
}

TEST(Validation, AListOfTheLeafsIssuerIsEnoughWhenOnlyTheLeafIsLookedUp) {
  const Issued middle = World::get().root.issue({.common_name = "middle", .is_authority = true});
  const Issued leaf = middle.issue({.common_name = "leaf"});
  ServerOptions options = mutual();
  options.common.validation->crl = inline_source(middle.crl_pem({}));
  EXPECT_FALSE(meet(options, &leaf, nullptr, {&middle}).accepted);  // the root's list is missing
  options.common.validation->only_verify_leaf_cert_crl = true;
  EXPECT_TRUE(meet(options, &leaf, nullptr, {&middle}).accepted);
}

TEST(Validation, RefusesTrustThatCannotBeRead) {
  ServerOptions options = mutual();
  options.common.validation->trusted_ca = {"no PEM at all", "/etc/ca.pem"};
  EXPECT_EQ(refusal(options), "trusted_ca /etc/ca.pem holds no certificate in PEM");
  options = mutual();
  options.common.validation->crl = {"nothing", "/etc/crl.pem"};
  EXPECT_EQ(refusal(options), "crl /etc/crl.pem holds no revocation list in PEM");
  options.common.validation->trusted_ca = {};
  EXPECT_NE(refusal(options).find("has no effect without trusted_ca"), std::string::npos);
}

// The client's side.
std::string client_outcome(const ClientOptions& client, stats::StatBlockPtr stats = nullptr) {
  Pair pair(make(server_options()), make(client, std::move(stats)));
  return pair.established() ? "" : pair.client().error;
}

TEST(Validation, AClientTrustsNobodyElsesServer) {
  ClientOptions client = client_options();
  EXPECT_EQ(client_outcome(client), "");
  client.common.validation->trusted_ca = inline_source(World::get().other_root.pem());
  EXPECT_NE(client_outcome(client).find("unable to get local issuer certificate"), std::string::npos);
  client.common.validation.reset();
  EXPECT_EQ(client_outcome(client), "");  // nothing is checked, as in Envoy
}

TEST(Validation, AClientChecksTheNameItAskedFor) {
  ClientOptions client = client_options();
  client.auto_sni_san_validation = true;
  EXPECT_EQ(client_outcome(client), "");
  client.sni = "any.wild.example";
  EXPECT_EQ(client_outcome(client), "");
  client.sni = "other.example";
  Counters counters;
  EXPECT_NE(client_outcome(client, counters.block).find("SAN matcher"), std::string::npos);
  EXPECT_EQ(counters(stats::tls::kFailVerifySan), 1);
  client.common.validation.reset();
  EXPECT_NE(refusal(client).find("auto_sni_san_validation needs a validation_context"), std::string::npos);
}

// auto_san_validation.
TEST(Validation, AClientChecksTheNameThatOneConnectionAsksFor) {
  const auto outcome = [](const ClientOptions& client, std::string_view name, stats::StatBlockPtr stats = nullptr) {
    net::TransportFactory::Ask ask;
    ask.verify_name = name;
    Pair pair(make(server_options()), make(client, std::move(stats)), ask);
    return pair.established() ? "" : pair.client().error;
  };
  ClientOptions client = client_options();
  for (const char* right : {"server.example", "SERVER.example", "any.wild.example", ""}) {
    EXPECT_EQ(outcome(client, right), "") << right;
  }
  Counters counters;
  EXPECT_NE(outcome(client, "other.example", counters.block).find("verify SAN list"), std::string::npos);
  EXPECT_EQ(counters(stats::tls::kFailVerifySan), 1);
  EXPECT_NE(outcome(client, "10.1.2.3"), "");
  // Besides the names that are configured, not in their place.
  SanMatch other;
  other.matcher.value = "no.example";
  client.common.validation->san_matchers.push_back(other);
  EXPECT_NE(outcome(client, "server.example").find("SAN matcher"), std::string::npos);
}

TEST(Validation, ANameMayBeAnAddressOrAUri) {
  ClientOptions client = client_options();
  ServerOptions server = server_options();
  server.common.certificates = {World::get().client.options()};
  for (const auto& [name, right] : {std::pair("10.1.2.3", true), std::pair("spiffe://mesh/ns/a", true),
                                    std::pair("10.1.2.4", false)}) {
    net::TransportFactory::Ask ask;
    ask.verify_name = name;
    Pair pair(make(server), make(client), ask);
    EXPECT_EQ(pair.established(), right) << name << pair.client().error;
  }
}

}  // namespace
}  // namespace millrace::tls
