// What a peer does wrong, by mistake or on purpose: each with the answer of RFC 9113 and Envoy's counter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/http2_peers.h"

namespace millrace::http {
namespace {

using namespace test;
using testing::AnyOf;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Role = Http2Session::Role;
namespace h2 = stats::http2_codec;

struct Http2LimitsTest : testing::Test {
  std::unique_ptr<Peer> server = std::make_unique<Peer>(Role::kServer);

  void with(Http2Options options, uint32_t header_bytes = 60 * 1024, uint32_t header_count = 100) {
    server = std::make_unique<Peer>(Role::kServer, options, header_bytes, header_count);
  }
  static std::string request(uint32_t id, std::string_view more = {}, bool end = true) {
    return frame(kHeaders, kEndHeaders | (end ? kEndStream : 0), id, get_request() + std::string(more));
  }
  // What it says, as "RST 1 8" or "GOAWAY 0 1"; other frames are left out.
  std::vector<std::string> said() {
    std::vector<std::string> out;
    for (const RawFrame& f : frames_of(server->drain())) {
      const auto word = [&](size_t at) {
        uint32_t n = 0;
        for (size_t i = at; i < at + 4; ++i) n = n << 8 | static_cast<unsigned char>(f.payload[i]);
        return std::to_string(n);
      };
      if (f.type == kRstStream) out.push_back("RST " + std::to_string(f.stream) + " " + word(0));
      if (f.type == kGoaway) out.push_back("GOAWAY " + word(4));
    }
    return out;
  }
};

TEST_F(Http2LimitsTest, ABadPrefaceEndsTheSession) {
  EXPECT_FALSE(server->feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_THAT(said(), ElementsAre("GOAWAY 1"));
  EXPECT_TRUE(server->session.finished());
}

TEST_F(Http2LimitsTest, EmptyDataFramesAreAFlood) {
  server->feed(preface() + request(1, {}, false));
  EXPECT_TRUE(server->feed(frame(kData, 0, 1)));
  EXPECT_TRUE(server->feed(frame(kData, 0, 1, "x") + frame(kData, 0, 1)));  // not one after the other
  EXPECT_FALSE(server->feed(frame(kData, 0, 1)));
  EXPECT_EQ(server->heard_error, "http2.inbound_empty_frames_flood");
  EXPECT_EQ(server->counter(h2::kInboundEmptyFramesFlood), 1u);
  EXPECT_THAT(said(), ElementsAre("GOAWAY 11"));
}

TEST_F(Http2LimitsTest, DataFramesOfNothingButPaddingAreAFloodToo) {
  server->feed(preface() + request(1, {}, false));
  const std::string padding = frame(kData, kPadded, 1, std::string("\x03\0\0\0", 4));
  EXPECT_TRUE(server->feed(padding));
  EXPECT_FALSE(server->feed(padding));
  EXPECT_EQ(server->counter(h2::kInboundEmptyFramesFlood), 1u);
}

TEST_F(Http2LimitsTest, EmptyContinuationsAreAFlood) {
  server->feed(preface() + frame(kHeaders, kEndStream, 1, get_request()));
  EXPECT_TRUE(server->feed(frame(kContinuation, 0, 1)));
  EXPECT_FALSE(server->feed(frame(kContinuation, 0, 1)));
  EXPECT_EQ(server->counter(h2::kInboundEmptyFramesFlood), 1u);
}

TEST_F(Http2LimitsTest, ContinuationsWithoutEndAreAFlood) {
  server->feed(preface() + frame(kHeaders, kEndStream, 1, get_request()));
  size_t taken = 0;
  while (taken < 1000 && server->feed(frame(kContinuation, 0, 1, field("a", "b")))) {
    ++taken;
    if (!said().empty() || server->session.failed()) break;
  }
  EXPECT_LT(taken, 100u);
  EXPECT_TRUE(server->session.failed());
  EXPECT_EQ(server->session.details(), "http2.too_many_continuations");
  EXPECT_EQ(server->counter(h2::kHeaderOverflow), 1u);
}

TEST_F(Http2LimitsTest, PriorityFramesAreAFlood) {
  const std::string priority = frame(kPriority, 0, 1, std::string("\0\0\0\0\x10", 5));
  server->feed(preface());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(server->feed(priority)) << i;
  EXPECT_FALSE(server->feed(priority));
  EXPECT_EQ(server->counter(h2::kInboundPriorityFramesFlood), 1u);
}

TEST_F(Http2LimitsTest, WindowUpdatesAreAFlood) {
  server->feed(preface());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(server->feed(frame(kWindowUpdate, 0, 0, number(1)))) << i;
  EXPECT_FALSE(server->feed(frame(kWindowUpdate, 0, 0, number(1))));
  EXPECT_EQ(server->counter(h2::kInboundWindowUpdateFramesFlood), 1u);
}

TEST_F(Http2LimitsTest, PingsThatNobodyReadsTheAnswersOfAreAFlood) {
  server->feed(preface());
  int taken = 0;
  while (taken < 5000 && server->feed(frame(kPing, 0, 0, "12345678"))) ++taken;
  EXPECT_GE(taken, 990);
  EXPECT_LE(taken, 1000);
  EXPECT_EQ(server->counter(h2::kOutboundControlFlood), 1u);
  EXPECT_FALSE(server->session.finished());
  said();
  EXPECT_TRUE(server->session.finished());
}

TEST_F(Http2LimitsTest, AnswersThatWereMadeButNotSentCountToo) {
  server->feed(preface());
  base::Buffer wire;
  int taken = 0;
  for (; taken < 5000; ++taken) {
    server->session.set_unsent(wire.size());
    if (!server->feed(frame(kSettings, 0, 0))) break;
    server->session.drain(wire, SIZE_MAX);
  }
  EXPECT_GE(taken, 990);
  EXPECT_LE(taken, 1000);
  EXPECT_EQ(server->counter(h2::kOutboundControlFlood), 1u);
}

TEST_F(Http2LimitsTest, PingsWhoseAnswersAreReadAreNone) {
  server->feed(preface());
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(server->feed(frame(kPing, 0, 0, "12345678"))) << i;
    server->drain();
  }
}

TEST_F(Http2LimitsTest, HeadsLargerThanAllowedResetTheirStream) {
  with({}, 1000);
  server->feed(preface() + request(1, field("x", std::string(2000, 'v'))) + request(3));
  EXPECT_THAT(server->log, SizeIs(1));  // the second request
  EXPECT_THAT(said(), ElementsAre("RST 1 2"));
  EXPECT_TRUE(server->streams[0]->closed);
  EXPECT_EQ(server->streams[0]->details(), "http2.headers_too_large");
  EXPECT_EQ(server->counter(h2::kHeaderOverflow), 1u);
}

TEST_F(Http2LimitsTest, FieldsThatTheDynamicTableMultipliesCountEachTime) {
  // RFC 7541: one literal of 2 KiB into the table, then a byte each for the same again.
  const std::string bomb = "\x40" + hpack_string("x") + hpack_string(std::string(2000, 'v'));
  server->feed(preface() + request(1, bomb + std::string(10'000, '\xbe')));
  EXPECT_THAT(said(), ElementsAre("RST 1 2"));
  EXPECT_EQ(server->counter(h2::kHeaderOverflow), 1u);
  EXPECT_LE(server->streams[0]->head->byte_size(), 60u * 1024);
}

TEST_F(Http2LimitsTest, TooManyFieldsResetTheirStream) {
  with({}, 60 * 1024, 10);
  std::string many;
  for (int i = 0; i < 20; ++i) many += field("x", "y");
  server->feed(preface() + request(1, many));
  EXPECT_THAT(said(), ElementsAre("RST 1 2"));
  EXPECT_EQ(server->streams[0]->details(), "http2.too_many_headers");
}

TEST_F(Http2LimitsTest, ASingleFieldHasALimitOfItsOwnWhereTold) {
  Http2Options options;
  options.max_header_field_bytes = 100;
  with(options);
  server->feed(preface() + request(1, field("x", std::string(200, 'v'))));
  EXPECT_EQ(server->counter(h2::kHeaderOverflow), 1u);
}

TEST_F(Http2LimitsTest, BadHpackEndsTheSession) {
  server->feed(preface() + frame(kHeaders, kEndHeaders | kEndStream, 1, std::string("\xff\xff\xff\xff\xff\xff", 6)));
  EXPECT_THAT(said(), ElementsAre("GOAWAY 9"));
  EXPECT_TRUE(server->session.failed());
  EXPECT_TRUE(server->session.finished());
}

// ---- malformed messages, RFC 9113 section 8.1.1

std::vector<std::string> malformed_requests() {
  const std::string get("\x82\x86\x84", 3);
  const auto head = [](const std::string& block, bool end = true) {
    return frame(kHeaders, kEndHeaders | (end ? kEndStream : 0), 1, block);
  };
  return {
      head(get_request() + field("Upper", "x")),
      head(get_request() + field("a b", "x")),
      head(get_request() + field("", "x")),
      head(get_request() + field("x", std::string("a\0b", 3))),
      head(get_request() + field("x", "a\r\nb: c")),
      head(get_request() + field("x", " lead")),
      head(get_request() + field("connection", "close")),
      head(get_request() + field("keep-alive", "1")),
      head(get_request() + field("proxy-connection", "x")),
      head(get_request() + field("transfer-encoding", "chunked")),
      head(get_request() + field("upgrade", "h2c")),
      head(get_request() + field("te", "gzip")),
      head(get_request() + field("host", "other")),
      head(get_request() + field(":method", "GET")),           // twice
      head(get_request() + field(":status", "200")),
      head(get_request() + field(":nonsense", "1")),
      head(field("x", "y") + get_request()),                    // pseudo headers come first
      head(std::string("\x86\x84", 2)),                         // no method
      head(std::string("\x82\x84", 2)),                         // no scheme
      head(std::string("\x82\x86", 2)),                         // no path
      head(std::string("\x82\x86", 2) + field(":path", "")),
      head(get),                                                // no authority at all
      head(get_request() + field(":protocol", "websocket")),    // not allowed here
      head(get_request() + field("content-length", "5")),       // and no body
      head(get_request() + field("content-length", "1"), false) + frame(kData, kEndStream, 1, "long"),
      head(get_request() + field("content-length", "9"), false) + frame(kData, kEndStream, 1, "short"),
      head(get_request() + field("content-length", "x")),
      head(get_request(), false) + frame(kHeaders, kEndHeaders, 1, field("t", "x")),  // trailers without END_STREAM
      head(get_request(), false) + frame(kHeaders, kEndHeaders | kEndStream, 1, field(":path", "/")),
  };
}

TEST_F(Http2LimitsTest, MalformedMessagesResetTheirStreamWhereAskedTo) {
  for (const std::string& wire : malformed_requests()) {
    Http2Options options;
    options.stream_error_on_invalid_http_message = true;
    with(options);
    EXPECT_TRUE(server->feed(preface() + wire)) << wire;
    EXPECT_THAT(said(), ElementsAre("RST 1 1")) << wire;
    EXPECT_TRUE(server->streams[0]->closed);
    EXPECT_TRUE(server->feed(request(3)));
    EXPECT_TRUE(server->streams[1]->ended) << wire;
  }
}

TEST_F(Http2LimitsTest, MalformedMessagesEndTheSessionOtherwise) {
  for (const std::string& wire : malformed_requests()) {
    with({});
    server->feed(preface() + wire);
    const std::vector<std::string> out = said();
    // A body of another length than announced ends the stream alone.
    EXPECT_THAT(out, AnyOf(testing::Contains("GOAWAY 1"), testing::Contains("RST 1 1"))) << wire;
    for (auto& s : server->streams) EXPECT_FALSE(s->ended && s->body == "short") << wire;
  }
}

TEST_F(Http2LimitsTest, BytesBeyondAsciiAreMalformedWhereTold) {
  Http2Options options;
  options.stream_error_on_invalid_http_message = true;
  with(options);
  server->feed(preface() + request(1, field("x", "\xe4")));
  EXPECT_THAT(said(), IsEmpty());
  options.disallow_obs_text = true;
  with(options);
  server->feed(preface() + request(1, field("x", "\xe4")));
  EXPECT_THAT(said(), ElementsAre("RST 1 1"));
}

// ---- frames that may not be, RFC 9113 sections 4 to 6

TEST_F(Http2LimitsTest, FramesThatMayNotBeEndTheSessionWithTheirCode) {
  const std::string open = request(1, {}, false);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {frame(kData, 0, 0, "x"), "GOAWAY 1"},
      {frame(kHeaders, kEndHeaders, 0, get_request()), "GOAWAY 1"},
      {frame(kHeaders, kEndHeaders, 2, get_request()), "GOAWAY 1"},          // even
      {request(5) + request(3), "GOAWAY 1"},                                 // skipped
      {request(1) + frame(kRstStream, 0, 1, number(8)) + request(1), "GOAWAY 5"},
      {frame(kPriority, 0, 0, std::string("\0\0\0\0\x10", 5)), "GOAWAY 1"},
      {open + frame(kData, kPadded, 1), "GOAWAY 6"},                         // no room for the pad length
      {frame(kHeaders, kEndHeaders | kPadded, 1), "GOAWAY 6"},
      {open + frame(kWindowUpdate, 0, 1, number(0x7fffffff - 65'535)) +
           frame(kSettings, 0, 0, std::string("\0\x04\0\x01\0\0", 6)), "GOAWAY 3"},
      {open + frame(kHeaders, kEndHeaders | kPadded, 3, "\xff"), "GOAWAY 1"},
      {open + frame(kData, kPadded, 1, std::string("\x09x", 2)), "GOAWAY 1"},
      {frame(kData, 0, 5, "x"), "GOAWAY 1"},                                 // idle
      {frame(kRstStream, 0, 5, number(8)), "GOAWAY 1"},
      {frame(kRstStream, 0, 0, number(8)), "GOAWAY 1"},
      {open + frame(kRstStream, 0, 1, "abc"), "GOAWAY 6"},
      {frame(kSettings, 0, 1), "GOAWAY 1"},
      {frame(kSettings, 0, 0, "abc"), "GOAWAY 6"},
      {frame(kSettings, kAck, 0, "abcdef"), "GOAWAY 6"},
      {frame(kSettings, 0, 0, std::string("\0\x04\xff\xff\xff\xff", 6)), "GOAWAY 3"},
      {frame(kSettings, 0, 0, std::string("\0\x05\0\0\0\x10", 6)), "GOAWAY 1"},
      {frame(kSettings, 0, 0, std::string("\0\x02\0\0\0\x02", 6)), "GOAWAY 1"},
      {frame(kPing, 0, 0, "abc"), "GOAWAY 6"},
      {frame(kPing, 0, 1, "12345678"), "GOAWAY 1"},
      {frame(kGoaway, 0, 1, number(0) + number(0)), "GOAWAY 1"},
      {frame(kWindowUpdate, 0, 0, number(0)), "GOAWAY 1"},
      {frame(kWindowUpdate, 0, 0, number(0x7fffffff)), "GOAWAY 3"},
      {frame(kWindowUpdate, 0, 0, "abc"), "GOAWAY 6"},
      {frame(kWindowUpdate, 0, 5, number(1)), "GOAWAY 1"},
      {frame(kPushPromise, kEndHeaders, 1, number(2)), "GOAWAY 1"},
      {frame(kContinuation, kEndHeaders, 1, "x"), "GOAWAY 1"},
      {frame(kHeaders, kEndStream, 1, get_request()) + frame(kPing, 0, 0, "12345678"), "GOAWAY 1"},
      {frame(kHeaders, kEndStream, 1, get_request()) + frame(kContinuation, kEndHeaders, 3, ""), "GOAWAY 1"},
      {frame(kData, 0, 1, std::string(16'385, 'x')), "GOAWAY 6"},
  };
  for (const auto& [wire, answer] : cases) {
    with({});
    server->feed(preface() + wire);
    const std::vector<RawFrame> sent = frames_of(wire);
    EXPECT_THAT(said(), testing::Contains(answer))
        << "frame type " << int{sent.back().type} << " on " << sent.back().stream;
    EXPECT_TRUE(server->session.finished());
  }
}

TEST_F(Http2LimitsTest, ErrorsOfOneStreamLeaveTheOthers) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {frame(kWindowUpdate, 0, 1, number(0)), "RST 1 1"},
      {frame(kWindowUpdate, 0, 1, number(0x7fffffff)), "RST 1 3"},
  };
  for (const auto& [wire, answer] : cases) {
    with({});
    EXPECT_TRUE(server->feed(preface() + request(1, {}, false) + wire));
    const std::vector<std::string> out = said();
    EXPECT_TRUE(out == std::vector<std::string>{answer} || out == std::vector<std::string>{"GOAWAY 1"}) << answer;
  }
}

TEST_F(Http2LimitsTest, DataOnAClosedStreamIsRefusedOnce) {
  const std::string data = frame(kData, 0, 1, "x");
  EXPECT_TRUE(server->feed(preface() + request(1, {}, false) + frame(kRstStream, 0, 1, number(8)) + data + data));
  EXPECT_THAT(said(), ElementsAre("RST 1 5"));
  EXPECT_TRUE(server->feed(data + request(5) + frame(kData, 0, 3, "x")));
  EXPECT_THAT(said(), ElementsAre("RST 3 5"));
}

TEST_F(Http2LimitsTest, WhatIsOnItsWayToAStreamThatWeResetIsIgnored) {
  const std::string late = frame(kData, 0, 1, "x") + frame(kHeaders, kEndHeaders | kEndStream, 1, field("x", "y"));
  server->feed(preface() + request(1, field("content-length", "1"), false) + frame(kData, 0, 1, "long") + late);
  EXPECT_THAT(said(), ElementsAre("RST 1 1"));
  EXPECT_TRUE(server->feed(late + request(3)));
  EXPECT_THAT(said(), IsEmpty());
  EXPECT_TRUE(server->streams[1]->ended);
}

TEST_F(Http2LimitsTest, WhatIsOnItsWayToARefusedStreamIsIgnored) {
  Http2Options options;
  options.max_concurrent_streams = 1;
  with(options);
  const std::string late = frame(kData, kEndStream, 3, "x");
  EXPECT_TRUE(server->feed(preface() + request(1, {}, false) + request(3, {}, false) + late));
  EXPECT_THAT(said(), ElementsAre("RST 3 7"));
  EXPECT_TRUE(server->feed(late));
  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(Http2LimitsTest, DataBeyondTheWindowsIsAnError) {
  Http2Options options;
  options.initial_stream_window_bytes = options.initial_connection_window_bytes = 65'535;
  const auto data = [](uint32_t stream) { return frame(kData, 0, stream, std::string(16'384, 'x')); };
  with(options);
  server->consume = false;
  server->feed(preface() + request(1, {}, false));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(server->feed(data(1)));
  EXPECT_THAT(said(), IsEmpty());
  server->feed(data(1));  // 65,536
  EXPECT_THAT(said(), AnyOf(ElementsAre("RST 1 3"), ElementsAre("GOAWAY 3")));

  with(options);
  server->consume = false;
  server->feed(preface() + request(1, {}, false) + request(3, {}, false) + request(5, {}, false));
  for (int i = 0; i < 9; ++i) server->feed(data(static_cast<uint32_t>(1 + 2 * (i / 3))));
  EXPECT_THAT(said(), ElementsAre("GOAWAY 3"));  // more than two windows of the connection would be held
}

TEST_F(Http2LimitsTest, FrameHeadsAreFoundInAnyPieces) {
  const std::string wire = "skip" + frame(kData, kPadded, 0x80000007, "abc") + frame(kPing, 0, 0) +
                           frame(0xfe, 1, 9, std::string(70'000, 'x')) + frame(kHeaders, 5, 11, "y");
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{5}, size_t{9}, size_t{10}, size_t{4096}, wire.size()}) {
    Http2FrameHeads heads{4};
    std::vector<std::string> found;
    for (size_t i = 0; i < wire.size(); i += piece) {
      const auto* at = reinterpret_cast<const uint8_t*>(wire.data()) + i;
      const uint8_t* const end = at + std::min(piece, wire.size() - i);
      Http2FrameHeads::Head head;
      while (const uint8_t* begin = heads.next(at, end, head)) {
        EXPECT_LT(begin, at);
        found.push_back(std::to_string(head.type) + " " + std::to_string(head.flags) + " " +
                        std::to_string(head.stream) + " " + std::to_string(head.length));
      }
    }
    EXPECT_THAT(found, ElementsAre("0 8 7 3", "6 0 0 0", "254 1 9 70000", "1 5 11 1")) << piece;
  }
}

TEST_F(Http2LimitsTest, ClosedStreamsAreRememberedOnTheSafeSide) {
  using Why = Http2ClosedStreams::Why;
  Http2ClosedStreams closed;
  closed.begin(1);
  closed.begin(7);
  EXPECT_EQ(closed.why(1), Why::kUsed);
  EXPECT_EQ(closed.why(3), Why::kSkipped);
  EXPECT_EQ(closed.why(5), Why::kSkipped);
  for (int32_t id = 9; id < 209; id += 2) {
    closed.begin(id);
    if (id >= 101) closed.reset(id);
  }
  EXPECT_EQ(closed.why(207), Why::kReset);
  EXPECT_EQ(closed.why(9), Why::kReset) << "forgotten: it may be one";
  closed.begin(1009);
  EXPECT_EQ(closed.why(501), Why::kSkipped);
  EXPECT_EQ(closed.last(), 1009);
}

TEST_F(Http2LimitsTest, UnknownFramesAndSettingsAreIgnored) {
  EXPECT_TRUE(server->feed(preface() + frame(0x4d, 0, 0, "metadata") + frame(0xfe, 0xff, 7, "x") +
                           frame(kSettings, 0, 0, std::string("\x7f\x7f\0\0\0\x01", 6)) + request(1)));
  EXPECT_THAT(said(), IsEmpty());
  EXPECT_THAT(server->log, SizeIs(1));
}

TEST_F(Http2LimitsTest, MoreStreamsThanAllowedAreRefused) {
  Http2Options options;
  options.max_concurrent_streams = 2;
  with(options);
  server->feed(preface() + request(1, {}, false) + request(3, {}, false) + request(5, {}, false));
  EXPECT_EQ(server->streams.size(), 2u);
  EXPECT_THAT(said(), ElementsAre("RST 5 7"));
  EXPECT_EQ(server->counter(h2::kStreamRefusedErrors), 1u);
}

TEST_F(Http2LimitsTest, ResetsBeyondTheirRateEndTheSessionWhereTold) {
  Http2Options options;
  options.stream_reset_burst = 5;
  options.stream_reset_rate = 1;
  with(options);
  std::string wire = preface();
  for (uint32_t id = 1; id < 30; id += 2) wire += request(id) + frame(kRstStream, 0, id, number(8));
  server->feed(wire);
  EXPECT_THAT(said(), ElementsAre("GOAWAY 2"));
  EXPECT_TRUE(server->session.failed());
}

TEST_F(Http2LimitsTest, APushPromiseEndsAClientsSession) {
  Peer client{Role::kClient};
  HeaderMap get;
  get.add(Header::kMethod, "GET");
  get.add(Header::kScheme, "http");
  get.add(Header::kPath, "/");
  get.add(Header::kAuthority, "a");
  PeerStream stream;
  ASSERT_TRUE(client.session.request(stream, get, true));
  client.drain();
  client.feed(frame(kSettings, 0, 0) + frame(kSettings, kAck, 0) +
              frame(kPushPromise, kEndHeaders, 1, number(2) + get_request()));
  const std::vector<RawFrame> out = frames_of(client.drain());
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(out.back().type, kGoaway);
}

}  // namespace
}  // namespace millrace::http
