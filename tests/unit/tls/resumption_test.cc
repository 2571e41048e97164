#include <gtest/gtest.h>

#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;

// A connection that has read what its server said, with which the tickets of TLS 1.3 come; whether it resumed.
bool resumed(const ContextPtr& server, const ContextPtr& client, std::string_view server_name = {}) {
  Pair pair(server, client, ask(server_name));
  EXPECT_TRUE(pair.established()) << pair.client().error << pair.server().error;
  if (!pair.established()) return false;
  pair.send_to_client("hello");
  pair.pump();
  const bool reused = pair.client().transport->facts()->session_reused();
  EXPECT_EQ(reused, pair.server().transport->facts()->session_reused());
  return reused;
}

class Resumption : public testing::TestWithParam<Version> {
 protected:
  Resumption() { client_.common.parameters.version_max = GetParam(); }
  ServerOptions server_ = server_options();
  ClientOptions client_ = client_options();
};
INSTANTIATE_TEST_SUITE_P(Versions, Resumption, testing::Values(Version::kTls12, Version::kTls13));

TEST_P(Resumption, ResumesBySessionTicket) {
  Counters counters;
  const ContextPtr server = make(server_, counters.block), client = make(client_);
  EXPECT_FALSE(resumed(server, client));
  EXPECT_TRUE(resumed(server, client));
  EXPECT_TRUE(resumed(server, client));
  EXPECT_EQ(counters(stats::tls::kHandshake), 3);
  EXPECT_EQ(counters(stats::tls::kSessionReused), 2);
}

TEST_P(Resumption, KeepsNoSessionWhenTheClientIsToldSo) {
  client_.max_session_keys = 0;
  const ContextPtr server = make(server_), client = make(client_);
  EXPECT_FALSE(resumed(server, client));
  EXPECT_FALSE(resumed(server, client));
}

TEST_P(Resumption, ResumesUnderTheSameServerNameOnly) {
  client_.max_session_keys = 4;
  const ContextPtr server = make(server_), client = make(client_);
  EXPECT_FALSE(resumed(server, client, "a.wild.example"));
  EXPECT_FALSE(resumed(server, client, "b.wild.example"));
  EXPECT_TRUE(resumed(server, client, "a.wild.example"));
  EXPECT_TRUE(resumed(server, client, "b.wild.example"));
}

TEST_P(Resumption, SharesTicketKeysBetweenServersAndRotatesThem) {
  const Source old_key = inline_source(std::string(40, 'o') + std::string(40, 'p'));
  const Source new_key = inline_source(std::string(40, 'n') + std::string(40, 'm'));
  const auto server_with = [&](std::vector<Source> keys) {
    server_.session_ticket_keys = std::move(keys);
    return make(server_);
  };
  const ContextPtr client = make(client_);
  EXPECT_FALSE(resumed(server_with({old_key}), client));
  EXPECT_TRUE(resumed(server_with({old_key}), client));  // another server, the same key
  EXPECT_TRUE(
      resumed(server_with({new_key, old_key}), client));  // the old one still decrypts, and the ticket is renewed
  EXPECT_TRUE(resumed(server_with({new_key}), client));
  EXPECT_FALSE(resumed(server_with({old_key}), client));
}

TEST_P(Resumption, NeverCrossesToAServerWithOtherRules) {
  server_.session_ticket_keys = {inline_source(std::string(80, 'k'))};
  const ContextPtr client = make(client_);
  EXPECT_FALSE(resumed(make(server_), client));
  server_.common.validation.emplace();
  server_.common.validation->trusted_ca = inline_source(World::get().root.pem());
  EXPECT_FALSE(resumed(make(server_), client));
  EXPECT_TRUE(resumed(make(server_), client));
  server_.server_names = {"server.example"};
  EXPECT_FALSE(resumed(make(server_), client));
}

TEST_P(Resumption, RemembersThatTheClientWasValidated) {
  server_.require_client_certificate = true;
  server_.common.validation.emplace();
  server_.common.validation->trusted_ca = inline_source(World::get().root.pem());
  client_.common.certificates = {World::get().client.options()};
  const ContextPtr server = make(server_), client = make(client_);
  EXPECT_FALSE(resumed(server, client));
  Pair pair(server, client);
  const auto facts = pair.server().transport->facts();
  ASSERT_NE(facts, nullptr);
  EXPECT_TRUE(facts->session_reused());
  EXPECT_TRUE(facts->peer_certificate_presented());
  EXPECT_TRUE(facts->peer_certificate_validated());
  EXPECT_EQ(facts->peer_certificate().uri_sans, std::vector<std::string>{"spiffe://mesh/ns/a"});
}

TEST(ResumptionTls12, GoesByTheServersCacheWhereThereAreNoTickets) {
  ServerOptions options = server_options();
  options.disable_stateless_resumption = true;
  ClientOptions old = client_options();
  old.common.parameters.version_max = Version::kTls12;
  const ContextPtr server = make(options), client = make(old);
  EXPECT_FALSE(resumed(server, client));
  EXPECT_TRUE(resumed(server, client));
  options.disable_stateful_resumption = true;
  const ContextPtr neither = make(options);
  EXPECT_FALSE(resumed(neither, client));
  EXPECT_FALSE(resumed(neither, client));
}

TEST(ResumptionTls13, NeedsTickets) {
  ServerOptions options = server_options();
  options.disable_stateless_resumption = true;
  const ContextPtr server = make(options), client = make(client_options());
  EXPECT_FALSE(resumed(server, client));
  EXPECT_FALSE(resumed(server, client));
}

TEST(TicketKeys, HaveEightyBytes) {
  ServerOptions options = server_options();
  options.session_ticket_keys = {{std::string(79, 'k'), "/etc/ticket.key"}};
  EXPECT_EQ(refusal(options),
            "session ticket key /etc/ticket.key has 79 bytes; it has to be 80: make one with openssl rand 80");
}

}  // namespace
}  // namespace millrace::tls
