#include "stream/stream_info.h"

#include <gtest/gtest.h>

namespace millrace::stream {
namespace {

TEST(ResponseFlags, PrintsShortNamesInEnvoysOrder) {
  ResponseFlags flags;
  flags.set(ResponseFlag::kUpstreamRetryLimitExceeded);
  flags.set(ResponseFlag::kUpstreamConnectionFailure);
  std::string out = "[";
  flags.append_short(out);
  EXPECT_EQ(out, "[UF,URX");
}

TEST(ResponseFlags, PrintsLongNames) {
  std::string out;
  ResponseFlags{ResponseFlag::kNoRouteFound, ResponseFlag::kUnconditionalDropOverload}.append_long(out);
  EXPECT_EQ(out, "NoRouteFound,UnconditionalDropOverload");
}

TEST(ResponseFlags, PrintsADashWhenNoneIsSet) {
  std::string out;
  ResponseFlags().append_short(out);
  ResponseFlags().append_long(out);
  EXPECT_EQ(out, "--");
}

TEST(ResponseFlags, ParsesEveryShortNameBack) {
  for (size_t i = 0; i < kResponseFlagCount; ++i) {
    const auto flag = static_cast<ResponseFlag>(i);
    EXPECT_EQ(parse_response_flag(short_name(flag)), flag) << short_name(flag);
  }
  EXPECT_EQ(parse_response_flag("uf"), std::nullopt);
  EXPECT_EQ(parse_response_flag(""), std::nullopt);
}

TEST(ResponseFlags, ClearsOneFlagAndKeepsTheOthers) {
  ResponseFlags flags{ResponseFlag::kDelayInjected, ResponseFlag::kFaultInjected};
  flags.clear(ResponseFlag::kDelayInjected);
  EXPECT_FALSE(flags.has(ResponseFlag::kDelayInjected));
  EXPECT_TRUE(flags.any({ResponseFlag::kDelayInjected, ResponseFlag::kFaultInjected}));
  EXPECT_FALSE(flags.any(ResponseFlag::kDelayInjected));
}

TEST(StreamInfo, ResetForgetsEverything) {
  StreamInfo info;
  info.response_code = 503;
  info.flags.set(ResponseFlag::kUpstreamOverflow);
  info.route_name = info.keep(std::string(100, 'r'));
  info.upstream.attempt_count = 3;
  info.bytes_sent = 12;
  info.reset();
  EXPECT_EQ(info.response_code, 0);
  EXPECT_TRUE(info.flags.empty());
  EXPECT_TRUE(info.route_name.empty());
  EXPECT_EQ(info.upstream.attempt_count, 0u);
  EXPECT_EQ(info.bytes_sent, 0u);
  EXPECT_TRUE(info.kept_.empty());
}

TEST(StreamInfo, KeptTextStaysWhileMoreIsKept) {
  StreamInfo info;
  const std::string_view first = info.keep("a");
  for (int i = 0; i < 100; ++i) info.keep("filler");
  EXPECT_EQ(first, "a");
}

TEST(StreamInfo, DurationOfARunningStreamEndsNow) {
  StreamInfo info;
  const auto at = [](int64_t ms) { return base::MonotonicTime(base::milliseconds(ms)); };
  info.start = at(1000);
  EXPECT_EQ(info.duration(at(1500)), base::milliseconds(500));
  info.end = at(1200);
  EXPECT_EQ(info.duration(at(1500)), base::milliseconds(200));
}

TEST(StreamInfo, TrustedRemoteAddressComesBeforeTheConnections) {
  const auto* peer = reinterpret_cast<const net::Address*>(uintptr_t{0x1000});
  const auto* trusted = reinterpret_cast<const net::Address*>(uintptr_t{0x2000});
  ConnectionInfo connection;
  connection.remote_address = peer;
  StreamInfo info;
  EXPECT_EQ(info.downstream_remote_address(), nullptr);
  info.connection = &connection;
  EXPECT_EQ(info.downstream_remote_address(), peer);
  info.trusted_remote_address = trusted;
  EXPECT_EQ(info.downstream_remote_address(), trusted);
}

TEST(Protocol, HasEnvoysNames) {
  EXPECT_EQ(name(Protocol::kNone), "");
  EXPECT_EQ(name(Protocol::kHttp10), "HTTP/1.0");
  EXPECT_EQ(name(Protocol::kHttp11), "HTTP/1.1");
  EXPECT_EQ(name(Protocol::kHttp2), "HTTP/2");
}

}  // namespace
}  // namespace millrace::stream
