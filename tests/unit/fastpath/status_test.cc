// What status pages and statistics show.
#include "fastpath/status.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "fastpath/counters.h"
#include "fastpath/steering.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::address;
using testing::bind_socket;
using testing::dial;
using testing::in_child;
using testing::local_of;
using testing::make_socket;
using testing::TestCgroup;
using testing::TestPins;

TEST(FastpathStatus, SaysWhyItIsOff) {
  EXPECT_EQ(to_text(status_off("no such privilege")), "fast path: off: no such privilege\n");
  EXPECT_EQ(read_status("/sys/fs/bpf/mr-test-none").error().code, base::ErrorCode::kNotFound);
}

TEST(FastpathStatus, ListsProgramsServicesAndCounts) {
  MILLRACE_NEEDS_BPF();
  const TestCgroup apps;
  const TestPins pins;
  Options options;
  options.pin_dir = pins.path();
  options.cgroups = {apps.path()};
  options.services.emplace();
  base::Result<std::unique_ptr<Steering>> steering = Steering::start(options);
  ASSERT_TRUE(steering.ok()) << steering.error().to_string();
  const Fd server = bind_socket(address("127.0.0.1", 0), SOCK_STREAM);
  const std::vector<Endpoint> endpoints{{local_of(server.get())}};
  ASSERT_TRUE((*steering)->services()->update(address("192.0.2.1", 80), IPPROTO_TCP, endpoints).ok());
  ASSERT_EQ(in_child(&apps, [] {
    return dial(make_socket(AF_INET, SOCK_STREAM).get(), address("192.0.2.1", 80));
  }), "ok");
  for (const bool alive : {true, false}) {
    SCOPED_TRACE(alive);
    if (!alive) steering->reset();
    const Status status = read_status(pins.path()).value();
    EXPECT_EQ(status.daemon, alive);
    EXPECT_EQ(status.captured_cgroups, std::vector<std::string>{apps.path()});
    ASSERT_EQ(status.programs.size(), 8u);  // connect, getpeername, sendmsg, recvmsg, each for both families
    EXPECT_EQ(status.programs[0].place, apps.path());
    ASSERT_EQ(status.services.size(), 1u);
    EXPECT_EQ(status.services[0].endpoints, std::vector<net::Address>{local_of(server.get())});
    ASSERT_EQ(status.counts.size(), 1u);
    EXPECT_EQ(status.counts[0].name, "balanced_tcp");
    EXPECT_EQ(status.counts[0].value, 1u);
    EXPECT_NE(to_text(status).find("service tcp 192.0.2.1:80"), std::string::npos);
  }
}

TEST(CounterExport, AddsWhatWasCountedSinceItsStart) {
  stats::Store store(1);
  const stats::StatBlockPtr block = store.add_block(fastpath_schema(), {"fastpath.", "fastpath.", {}});
  Counts counts{};
  counts[FP_CAPTURED] = 100;  // of an earlier daemon
  CounterExport exported(block, counts);
  counts[FP_CAPTURED] = 103;
  exported.update(counts);
  EXPECT_EQ(block->counter(FP_CAPTURED), 3u);
  exported.update(counts);
  EXPECT_EQ(block->counter(FP_CAPTURED), 3u);
  exported.gauges().gauge_set(kGaugeServices, 7);
  EXPECT_EQ(block->gauge(kGaugeServices), 7);
  EXPECT_EQ(fastpath_schema().stats[FP_CAPTURED].name, "captured");
}

}  // namespace
}  // namespace millrace::fastpath
