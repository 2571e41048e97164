// The path that every request on a warm connection takes does not touch the heap. Its own file: it counts the calls of
// operator new in the whole program.
#include <cstdlib>
#include <new>

#include "unit/upstream/pool_fixture.h"

namespace {
thread_local uint64_t allocations = 0;
}

[[gnu::noinline]] void* operator new(size_t n) {
  ++allocations;
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
// std::stable_sort() asks so for its buffer, and gives it back to the others.
[[gnu::noinline]] void* operator new(size_t n, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(n);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace millrace::upstream {
namespace {

using AllocationTest = PoolTest;

struct Quiet final : UpstreamHandler {
  void on_pool_ready(UpstreamRequest&) override {}
  void on_headers(UpstreamRequest&, bool) override {}
  void on_data(UpstreamRequest&, base::Buffer& data, bool end) override {
    data.clear();
    done |= end;
  }
  void on_trailers(UpstreamRequest&) override {}
  void on_reset(UpstreamRequest&, const Reset&) override {}

  http::HeaderMap headers, trailers;
  UpstreamRequest request{*this, headers, trailers};
  bool done = false;
};

TEST_F(AllocationTest, AReusedConnectionCostsNoneFromChoiceToFlush) {
  begin(cluster_options({1}, LbPolicy::kLeastRequest));
  http::HeaderMap get;
  get.add(http::Header::kMethod, "GET");
  get.add(http::Header::kPath, "/");
  get.add(http::Header::kAuthority, "test");
  Quiet client;
  ASSERT_EQ(pool().start(client.request), HttpPool::Start::kPending);
  network->accept_connection(0);
  turn();
  uint64_t spent = 0;
  for (int i = 0; i < 5; ++i) {
    const uint64_t before = allocations;
    if (i > 0) { ASSERT_EQ(local->http_pool(*local->choose(), ResourcePriority::kDefault)->start(client.request),
                           HttpPool::Start::kReady); }
    ASSERT_TRUE(client.request.send_headers(get, true));
    spent = allocations - before;
    turn();
    client.done = false;
    network->peer(0).says.push_back(kOk);
    turn();
    ASSERT_TRUE(client.done);
  }
  EXPECT_EQ(spent, 0u);
}

TEST_F(AllocationTest, ChoosingAHostCostsNone) {
  base::Prng prng(1);
  for (LbPolicy policy : {LbPolicy::kRoundRobin, LbPolicy::kLeastRequest, LbPolicy::kRandom}) {
    for (const std::vector<uint32_t>& weights : {std::vector<uint32_t>{1, 1, 1}, {1, 2, 3}}) {
      TestCluster test_cluster(cluster_options(weights, policy));
      LoadBalancer lb(test_cluster, 0, prng);
      lb.choose();  // the first makes what the others need
      const uint64_t before = allocations;
      for (int i = 0; i < 100; ++i) lb.choose();
      EXPECT_EQ(allocations, before);
    }
  }
}

}  // namespace
}  // namespace millrace::upstream
