#include "tls/ocsp.h"

#include <gtest/gtest.h>

#include "tls/certificate_selector.h"
#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;
using Staple = CertificateSelector::Staple;

ServerOptions with_staple(const Issued& leaf, std::string der) {
  ServerOptions options;
  options.common.certificates = {leaf.options()};
  options.common.certificates[0].ocsp_staple = {std::move(der), "/tls/staple.der"};
  return options;
}

Staple staple_for(const ServerOptions& options, bool wanted = true) {
  std::vector<Certificate> certificates;
  certificates.push_back(std::move(*load_certificate(options.common.certificates[0])));
  const base::Result<CertificateSelector> selector = CertificateSelector::make(certificates, options);
  EXPECT_TRUE(selector.ok());
  CertificateSelector::Client client;
  client.wants_staple = wanted;
  return selector->choose(client, std::chrono::system_clock::now()).staple;
}

TEST(Ocsp, IsReadAsFarAsAServerHasTo) {
  const Issued& leaf = World::get().server;
  const base::Result<OcspResponse> response = parse_ocsp_response(leaf.ocsp_response(5));
  ASSERT_TRUE(response.ok()) << response.error().what;
  EXPECT_EQ(response->serial, leaf.serial());
  const base::SystemTime now = std::chrono::system_clock::now();
  EXPECT_LT(response->this_update, now);
  EXPECT_FALSE(response->expired(now));
  EXPECT_TRUE(response->expired(now + std::chrono::days(6)));
}

TEST(Ocsp, RefusesEveryTruncation) {
  const std::string der = World::get().server.ocsp_response(5);
  for (size_t n = 0; n < der.size(); ++n) EXPECT_FALSE(parse_ocsp_response(der.substr(0, n)).ok()) << n;
  EXPECT_EQ(parse_ocsp_response(std::string("\x30\x03\x0a\x01\x06", 5)).error().what,
            "the OCSP responder answered with error 6");
}

TEST(Ocsp, BelongsToItsCertificate) {
  const World& world = World::get();
  EXPECT_NE(refusal(with_staple(world.server, world.client.ocsp_response(5))).find("it is about another certificate"),
            std::string::npos);
  EXPECT_EQ(refusal(with_staple(world.server, "junk")).substr(0, 27), "OCSP staple /tls/staple.der");
}

TEST(Ocsp, PolicyDecidesWhetherItIsSent) {
  const Issued& leaf = World::get().server;
  ServerOptions fresh = with_staple(leaf, leaf.ocsp_response(5));
  ServerOptions stale = with_staple(leaf, leaf.ocsp_response(-1));
  ServerOptions none = with_staple(leaf, "");
  EXPECT_EQ(staple_for(fresh, false), Staple::kNotAsked);
  for (const OcspStaplePolicy policy : {OcspStaplePolicy::kLenient, OcspStaplePolicy::kStrict}) {
    fresh.ocsp_staple_policy = stale.ocsp_staple_policy = none.ocsp_staple_policy = policy;
    EXPECT_EQ(staple_for(fresh), Staple::kSend);
    EXPECT_EQ(staple_for(none), Staple::kOmit);
    EXPECT_EQ(staple_for(stale), policy == OcspStaplePolicy::kStrict ? Staple::kRefuse : Staple::kOmit);
  }
  fresh.ocsp_staple_policy = stale.ocsp_staple_policy = none.ocsp_staple_policy = OcspStaplePolicy::kMustStaple;
  EXPECT_EQ(staple_for(fresh), Staple::kSend);
  EXPECT_EQ(staple_for(stale), Staple::kRefuse);
  EXPECT_NE(refusal(none).find("has no ocsp_staple"), std::string::npos);
}

TEST(Ocsp, ACertificateMayRequireIt) {
  const Issued leaf = World::get().root.issue({.common_name = "must", .must_staple = true});
  EXPECT_NE(refusal(with_staple(leaf, "")).find("says must-staple"), std::string::npos);
  EXPECT_EQ(staple_for(with_staple(leaf, leaf.ocsp_response(-1))), Staple::kRefuse);
  EXPECT_EQ(staple_for(with_staple(leaf, leaf.ocsp_response(1))), Staple::kSend);
}

}  // namespace
}  // namespace millrace::tls
