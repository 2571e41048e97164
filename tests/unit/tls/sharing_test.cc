// One context, many workers: what they share has to be safe to share. Worth most under ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "unit/tls/pair.h"

namespace millrace::tls {
namespace {

using namespace test;

TEST(Sharing, WorkersShakeHandsAndResumeWithTheSameContexts) {
  constexpr int kWorkers = 4;
  constexpr int kConnections = 12;
  ServerOptions options = server_options();
  options.require_client_certificate = true;
  options.common.validation.emplace();
  options.common.validation->trusted_ca = inline_source(World::get().root.pem());
  ClientOptions newer = client_options(), older = client_options();
  older.common.parameters.version_max = Version::kTls12;
  for (ClientOptions* client : {&newer, &older}) {
    client->common.certificates = {World::get().client.options()};
    client->max_session_keys = 3;
  }
  const ContextPtr server = make(options), tls13 = make(newer), tls12 = make(older);
  std::atomic<int> failed = 0, reused = 0;
  const auto work = [&] {
    for (int i = 0; i < kConnections; ++i) {
      Pair pair(server, i % 2 == 0 ? tls13 : tls12);
      pair.send_to_client("hello");
      pair.pump();
      const auto facts = pair.server().transport->facts();
      if (facts == nullptr || facts->peer_certificate().serial != World::get().client.serial()) ++failed;
      if (facts != nullptr && facts->session_reused()) ++reused;
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(reused, kWorkers * kConnections / 4);
}

}  // namespace
}  // namespace millrace::tls
