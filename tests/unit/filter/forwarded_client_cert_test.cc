#include "filter/forwarded_client_cert.h"

#include <gtest/gtest.h>

#include "support/known_facts.h"

namespace millrace::filter {
namespace {

using http::Header;

class ForwardedClientCertTest : public testing::Test {
 protected:
  ForwardedClientCertTest() {
    facts->local.uri_sans = {"spiffe://us"};
    facts->peer.fingerprint_256 = "abcd";
    facts->peer.subject = "CN=c";
    facts->peer.uri_sans = {"spiffe://them"};
    facts->peer.dns_sans = {"a.test", "b.test"};
    connection.tls = facts;
  }
  // The header after `mode`, when a client sent By=liar.
  std::string with(ForwardClientCert mode) {
    options.forward_client_cert = mode;
    connection.forwarded_client_cert.reset();
    http::HeaderMap headers;
    headers.add_view(Header::kForwardedClientCert, "By=liar");
    forward_client_cert(headers, options, connection);
    return headers.has(Header::kForwardedClientCert) ? std::string(headers.get(Header::kForwardedClientCert)) : "-";
  }
  std::shared_ptr<test::KnownFacts> facts = std::make_shared<test::KnownFacts>();
  stream::ConnectionInfo connection;
  HcmOptions options;
};

TEST_F(ForwardedClientCertTest, EachModeWithAClientCertificate) {
  EXPECT_EQ(with(ForwardClientCert::kSanitize), "-");
  EXPECT_EQ(with(ForwardClientCert::kForwardOnly), "By=liar");
  EXPECT_EQ(with(ForwardClientCert::kAlwaysForwardOnly), "By=liar");
  EXPECT_EQ(with(ForwardClientCert::kSanitizeSet), "By=spiffe://us;Hash=abcd");
  EXPECT_EQ(with(ForwardClientCert::kAppendForward), "By=liar,By=spiffe://us;Hash=abcd");
}

TEST_F(ForwardedClientCertTest, OnlyAMutualConnectionMayForward) {
  facts->presented = false;
  EXPECT_EQ(with(ForwardClientCert::kForwardOnly), "-");
  EXPECT_EQ(with(ForwardClientCert::kSanitizeSet), "-");
  connection.tls = nullptr;
  EXPECT_EQ(with(ForwardClientCert::kAppendForward), "-");
  EXPECT_EQ(with(ForwardClientCert::kAlwaysForwardOnly), "By=liar");
}

TEST_F(ForwardedClientCertTest, WritesTheDetailsThatAreAskedFor) {
  options.client_cert_details = {.subject = true, .cert = true, .chain = true, .uri = true, .dns = true};
  EXPECT_EQ(with(ForwardClientCert::kSanitizeSet),
            "By=spiffe://us;Hash=abcd;Subject=\"CN=c\";Cert=\"-----BEGIN%20\";Chain=\"-----BEGIN%20chain\";"
            "URI=spiffe://them;DNS=a.test;DNS=b.test");
  facts->peer.uri_sans.clear();
  options.client_cert_details = {.uri = true};
  EXPECT_EQ(with(ForwardClientCert::kSanitizeSet), "By=spiffe://us;Hash=abcd;URI=");
}

}  // namespace
}  // namespace millrace::filter
