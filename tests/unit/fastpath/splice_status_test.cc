// What operators see of the short-circuit, and its start after the probes.
#include "fastpath/splice_status.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>

#include "splice_support.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using testing::send_text;
using testing::SpliceBench;

TEST(SpliceStatus, ShowsCountsAndPairs) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  ProvenSplice proven;
  auto down = bench.connect();
  auto up = bench.connect();
  auto pair = bench.offers().join(down.daemon.get(), up.daemon.get(), 0, 0);
  ASSERT_TRUE(send_text(down.app.get(), "question"));
  stats::Store store(1);
  const stats::StatBlockPtr block = store.add_block(splice_schema(), {"fastpath.splice.", "fastpath.splice.", {}});
  SpliceExport shown(block, {.hop_v4 = true, .hop_v6 = false, .joined_v4 = true, .joined_v6 = true});
  shown.update(bench.splice().counts());
  shown.update(bench.splice().counts());
  EXPECT_EQ(block->counter(FP_SPLICE_REDIRECTED_JOINED), 1u);
  EXPECT_EQ(block->counter(kSpliceJoinedBytes), 8u);
  EXPECT_EQ(block->gauge(kSpliceHopV4), 1);
  EXPECT_EQ(block->gauge(kSpliceHopV6), 0);
  EXPECT_EQ(to_text(proven), "short-circuit: off: \n");
  proven.splice.emplace(bench.take_splice());
  const std::string text = to_text(proven);
  EXPECT_NE(text.find("redirected_joined 1 messages 8 bytes"), std::string::npos) << text;
  EXPECT_NE(text.find("last redirected_joined hop_bytes 0 joined_bytes 8"), std::string::npos) << text;
}

TEST(SpliceStatus, CountsOffersOfHopsAndThoseThatLive) {
  MILLRACE_NEEDS_BPF();
  SpliceBench bench("127.0.0.1");
  stats::Store store(1);
  const stats::StatBlockPtr block = store.add_block(splice_schema(), {"fastpath.splice.", "fastpath.splice.", {}});
  auto offers = SpliceOffers::open(bench.splice(), 1, 2, block->worker(0));
  ASSERT_TRUE(offers.ok()) << offers.error().to_string();
  auto hop = bench.connect();
  auto elsewhere = bench.connect_elsewhere();
  auto blocking = bench.connect();
  ASSERT_EQ(fcntl(blocking.app.get(), F_SETFL, 0), 0);
  auto [dialled, listener] = bench.dial_only();
  {
    auto offer = offers->offer_hop(hop.daemon.get());
    ASSERT_TRUE(offer.ok()) << offer.error().to_string();
    HopOffer kept = std::move(*offer);
    EXPECT_EQ(block->gauge(kSpliceHops), 1);
  }
  EXPECT_FALSE(offers->offer_hop(elsewhere.daemon.get()).ok());
  EXPECT_FALSE(offers->offer_hop(blocking.daemon.get()).ok());
  EXPECT_FALSE(offers->offer_hop(dialled.get()).ok());
  EXPECT_EQ(block->gauge(kSpliceHops), 0);
  EXPECT_EQ(block->counter(kSpliceHopOffered), 1u);
  EXPECT_EQ(block->counter(kSpliceHopUnknown), 1u);
  EXPECT_EQ(block->counter(kSpliceHopUnfit), 1u);
  EXPECT_EQ(block->counter(kSpliceHopNotYet), 1u);
  EXPECT_EQ(block->counter(kSpliceHopFailed), 0u);
}

TEST(SpliceStatus, StartsWithWhatTheProbesLeaveOfWhatIsWanted) {
  MILLRACE_NEEDS_BPF();
  SpliceOptions nothing;
  nothing.pieces = {.hop_v4 = false, .hop_v6 = false, .joined_v4 = false, .joined_v6 = false};
  const ProvenSplice off = start_proven_splice(nothing);
  EXPECT_FALSE(off.splice);
  EXPECT_EQ(off.off, "every piece is switched off");
  const ProvenSplice on = start_proven_splice({});
  EXPECT_TRUE(on.splice) << on.off;
  EXPECT_EQ(to_text(on).find("short-circuit: on"), 0u);
}

}  // namespace
}  // namespace millrace::fastpath
