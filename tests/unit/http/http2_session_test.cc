#include "http/http2_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "support/http2_peers.h"

namespace millrace::http {
namespace {

using namespace test;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Role = Http2Session::Role;
namespace h2 = stats::http2_codec;

struct Http2SessionTest : testing::Test {
  Peer server{Role::kServer}, client{Role::kClient};
  HeaderMap request, response;
  PeerStream stream;

  Http2SessionTest() {
    request.add(Header::kMethod, "GET");
    request.add(Header::kPath, "/a");
    request.add(Header::kAuthority, "example");
    request.add("x-one", "1");
    request.add(Header::kScheme, "http");  // set late by whoever sends: still goes first
    response.add(Header::kStatus, "200");
    response.add(Header::kContentType, "text/plain");
  }
  void respond(PeerStream& to, std::string_view body) {
    server.session.send_headers(to, response, body.empty());
    base::Buffer data;
    data.append(body);
    server.session.send_data(to, data, true);
  }
};

TEST_F(Http2SessionTest, CarriesARequestAndItsResponse) {
  server.answer = [&](PeerStream& to) { respond(to, "hello"); };
  ASSERT_TRUE(client.session.request(stream, request, true));
  talk(client, server);
  EXPECT_THAT(server.log, ElementsAre(":method=GET|:path=/a|:authority=example|:scheme=http|x-one=1 end"));
  EXPECT_THAT(client.log, ElementsAre(":status=200|content-type=text/plain"));
  EXPECT_EQ(stream.body, "hello");
  EXPECT_TRUE(stream.ended && stream.closed);
  EXPECT_EQ(stream.code, Http2Code::kNoError);
  EXPECT_TRUE(server.streams[0]->closed);
  EXPECT_EQ(server.gauge(h2::kStreamsActive), 0);
  EXPECT_GT(stream.wire_bytes_received(), 5u + 9 + 9);
}

TEST_F(Http2SessionTest, CarriesTrailersBothWaysAndInterimResponses) {
  HeaderMap interim, trailers;
  interim.add(Header::kStatus, "103");
  interim.add("link", "</x>");
  trailers.add("grpc-status", "0");
  server.answer = [&](PeerStream& to) { server.session.send_informational(to, interim); };
  ASSERT_TRUE(client.session.request(stream, request, false));
  base::Buffer data;
  data.append("up");
  client.session.send_data(stream, data, false);
  client.session.send_trailers(stream, trailers);
  talk(client, server);
  EXPECT_EQ(server.streams[0]->body, "up");
  EXPECT_THAT(server.log, Contains("trailers grpc-status=0"));
  EXPECT_THAT(client.log, ElementsAre("1xx :status=103|link=</x>"));
  server.session.send_headers(*server.streams[0], response, false);
  data.append("down");
  server.session.send_data(*server.streams[0], data, false);
  server.session.send_trailers(*server.streams[0], trailers);
  talk(client, server);
  EXPECT_THAT(client.log, Contains("trailers grpc-status=0"));
  EXPECT_EQ(stream.body, "down");
  EXPECT_TRUE(stream.closed);
  EXPECT_EQ(client.counter(h2::kTrailers), 2u);
}

TEST_F(Http2SessionTest, SendsNoEmptyDataFrameBeforeTrailers) {
  HeaderMap trailers;
  trailers.add("a", "b");
  server.feed(preface() + frame(kHeaders, kEndHeaders | kEndStream, 1, get_request()));
  server.session.send_headers(*server.streams[0], response, false);
  server.drain();
  server.session.send_trailers(*server.streams[0], trailers);
  const std::vector<RawFrame> frames = frames_of(server.drain());
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, kHeaders);
  EXPECT_EQ(frames[0].flags, kEndHeaders | kEndStream);
}

TEST_F(Http2SessionTest, ReportsDataThatArrivesTogetherOnce) {
  server.feed(preface() + frame(kHeaders, kEndHeaders, 1, get_request()) + frame(kData, 0, 1, "one") +
              frame(kData, 0, 1, "two") + frame(kData, kEndStream, 1, "three"));
  EXPECT_EQ(server.streams[0]->body, "onetwothree");
  EXPECT_EQ(server.streams[0]->data_calls, 1);
  EXPECT_TRUE(server.streams[0]->ended);
}

TEST_F(Http2SessionTest, TakesBytesInAnyPieces) {
  const std::string wire = preface() + frame(kHeaders, kEndHeaders, 1, get_request()) + frame(kData, 0, 1, "onetwo") +
                           frame(kData, kEndStream, 1, "three");
  for (char c : wire) ASSERT_TRUE(server.feed(std::string_view(&c, 1)));
  EXPECT_EQ(server.streams[0]->body, "onetwothree");
  EXPECT_TRUE(server.streams[0]->ended);
}

TEST_F(Http2SessionTest, BodiesStopAtTheWindowAndGoOnWhenConsumed) {
  client.consume = false;
  server.answer = [&](PeerStream& to) { respond(to, std::string(20 << 20, 'x')); };
  ASSERT_TRUE(client.session.request(stream, request, true));
  talk(client, server);
  EXPECT_EQ(stream.body.size(), 16u << 20);
  EXPECT_EQ(server.streams[0]->unsent(), 4u << 20);
  EXPECT_EQ(client.session.held(), 16u << 20);
  client.session.consume(stream, 16 << 20);
  talk(client, server);
  EXPECT_EQ(stream.body.size(), 20u << 20);
  EXPECT_EQ(client.session.held(), 0u);  // a stream that has ended holds nothing
}

TEST_F(Http2SessionTest, AStreamNobodyReadsLeavesTheOthersTheirWindow) {
  client.consume = false;
  PeerStream second, third;
  server.answer = [&](PeerStream& to) { respond(to, std::string(17 << 20, 'x')); };
  ASSERT_TRUE(client.session.request(stream, request, true));
  ASSERT_TRUE(client.session.request(second, request, true));
  talk(client, server);
  // Two stream windows are more than one connection window: it was given back meanwhile.
  EXPECT_EQ(stream.body.size(), 16u << 20);
  EXPECT_EQ(second.body.size(), 16u << 20);
  client.consume = true;
  ASSERT_TRUE(client.session.request(third, request, true));
  talk(client, server);
  EXPECT_EQ(third.body.size(), 17u << 20);
}

TEST_F(Http2SessionTest, AllStreamsTogetherHoldAtMostTwoConnectionWindows) {
  client.consume = false;
  server.answer = [&](PeerStream& to) { respond(to, std::string(16 << 20, 'x')); };
  PeerStream streams[4];
  for (PeerStream& s : streams) ASSERT_TRUE(client.session.request(s, request, true));
  talk(client, server);
  EXPECT_EQ(client.session.held(), 48u << 20);
  for (PeerStream& s : streams) {
    if (!s.closed) client.session.consume(s, s.body.size());
  }
  client.consume = true;
  talk(client, server);
  for (PeerStream& s : streams) EXPECT_EQ(s.body.size(), 16u << 20);
}

TEST_F(Http2SessionTest, DrainStopsAtItsLimitAndStreamsTakeTurns) {
  server.feed(preface() + frame(kWindowUpdate, 0, 0, number(1 << 20)) +
              frame(kHeaders, kEndHeaders | kEndStream, 1, get_request()) +
              frame(kHeaders, kEndHeaders | kEndStream, 3, get_request()));
  server.drain();
  for (auto& s : server.streams) respond(*s, std::string(60'000, 'x'));
  const std::string wire = server.drain(64 * 1024);
  EXPECT_LE(wire.size(), 64u * 1024 + 16'384 + 9);
  size_t first = 0, third = 0;
  for (const RawFrame& f : frames_of(wire)) (f.stream == 1 ? first : third) += f.type == kData ? f.payload.size() : 0;
  EXPECT_GE(first, 16'384u);
  EXPECT_GE(third, 16'384u);
}

TEST_F(Http2SessionTest, ResetsAndHeadsGoOutBesideAFullOutput) {
  server.feed(preface() + frame(kHeaders, kEndHeaders, 1, get_request()) +
              frame(kHeaders, kEndHeaders, 3, get_request()));
  server.drain();
  respond(*server.streams[0], std::string(30'000, 'x'));
  base::Buffer wire;
  wire.append(std::string(100, '.'));
  server.session.reset(*server.streams[1], Http2Code::kCancel);
  server.session.drain(wire, 100);
  std::vector<uint8_t> types;
  for (const RawFrame& f : frames_of(wire.to_string().substr(100))) types.push_back(f.type);
  EXPECT_THAT(types, ElementsAre(kHeaders, kRstStream));
  EXPECT_EQ(server.session.streams(), 1u);
}

TEST_F(Http2SessionTest, AResetReachesTheOtherSide) {
  ASSERT_TRUE(client.session.request(stream, request, false));
  talk(client, server);
  client.session.reset(stream, Http2Code::kCancel);
  EXPECT_EQ(stream.id(), 0);
  talk(client, server);
  EXPECT_TRUE(server.streams[0]->closed);
  EXPECT_TRUE(server.streams[0]->remote_reset());
  EXPECT_EQ(server.streams[0]->code, Http2Code::kCancel);
  EXPECT_FALSE(stream.closed);  // it was told to forget it
  EXPECT_EQ(server.counter(h2::kRxReset), 1u);
  EXPECT_EQ(client.counter(h2::kTxReset), 1u);
}

TEST_F(Http2SessionTest, AnAnswerBeforeTheEndOfTheRequestEndsItWithNoError) {
  server.answer = [&](PeerStream& to) {
    respond(to, "early");
    server.session.reset_when_sent(to);
  };
  ASSERT_TRUE(client.session.request(stream, request, false));
  talk(client, server);
  EXPECT_EQ(stream.body, "early");
  EXPECT_TRUE(stream.closed && stream.ended);
  EXPECT_EQ(stream.code, Http2Code::kNoError);
}

TEST_F(Http2SessionTest, ARefusedStreamIsToldSo) {
  server.refuse = true;
  ASSERT_TRUE(client.session.request(stream, request, true));
  talk(client, server);
  EXPECT_EQ(stream.code, Http2Code::kRefusedStream);
  EXPECT_EQ(server.counter(h2::kStreamRefusedErrors), 1u);
}

TEST_F(Http2SessionTest, DrainsInTwoSteps) {
  server.feed(preface() + frame(kHeaders, kEndHeaders | kEndStream, 1, get_request()));
  server.drain();
  server.session.shutdown_notice();
  std::vector<RawFrame> frames = frames_of(server.drain());
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, number(0x7fffffff) + number(0));
  server.feed(frame(kHeaders, kEndHeaders | kEndStream, 3, get_request()));  // was on its way
  server.session.goaway();
  frames = frames_of(server.drain());
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, number(3) + number(0));
  server.feed(frame(kHeaders, kEndHeaders | kEndStream, 5, get_request()));
  EXPECT_EQ(server.streams.size(), 2u);
  for (auto& s : server.streams) respond(*s, "last");
  EXPECT_FALSE(server.session.finished());
  server.drain();
  EXPECT_TRUE(server.session.finished());
  EXPECT_FALSE(server.session.failed());
}

TEST_F(Http2SessionTest, AStreamThatComesBeforeTheGoawayIsSentIsNotBegun) {
  server.feed(preface() + frame(kHeaders, kEndHeaders | kEndStream, 1, get_request()));
  server.session.goaway();
  server.feed(frame(kHeaders, kEndHeaders | kEndStream, 3, get_request()));
  EXPECT_EQ(server.streams.size(), 1u);
  std::string goaway;
  for (const RawFrame& f : frames_of(server.drain())) goaway = f.type == kGoaway ? f.payload : goaway;
  EXPECT_EQ(goaway, number(1) + number(0));
}

TEST_F(Http2SessionTest, AClientThatWasSentAwayRequestsNothing) {
  server.session.goaway();
  talk(client, server);
  EXPECT_THAT(client.log, ElementsAre("goaway 0 0"));
  EXPECT_FALSE(client.session.request(stream, request, true));
  EXPECT_TRUE(client.session.finished());
}

TEST_F(Http2SessionTest, PingsAreAnswered) {
  client.session.ping(77);
  talk(client, server);
  EXPECT_THAT(client.log, ElementsAre("ping 77"));
}

TEST_F(Http2SessionTest, HostBecomesAuthorityAndCookieCrumbsOneCookie) {
  server.feed(preface() + frame(kHeaders, kEndHeaders | kEndStream, 1,
                                std::string("\x82\x86\x84", 3) + field("host", "h") + field("cookie", "a=1") +
                                    field("cookie", "b=2") + field("cookie", "c=3")));
  EXPECT_THAT(server.log, ElementsAre(":method=GET|:scheme=http|:path=/|cookie=a=1; b=2; c=3|:authority=h end"));
}

TEST_F(Http2SessionTest, ConnectionSpecificFieldsAreNotSent) {
  request.add("connection", "close");
  request.add("keep-alive", "1");
  request.add("transfer-encoding", "chunked");
  request.add("upgrade", "x");
  request.add("te", "gzip");
  ASSERT_TRUE(client.session.request(stream, request, true));
  talk(client, server);
  EXPECT_THAT(server.log, ElementsAre(":method=GET|:path=/a|:authority=example|:scheme=http|x-one=1 end"));
}

TEST_F(Http2SessionTest, ExtendedConnectNeedsTheSetting) {
  Http2Options options;
  options.allow_connect = true;
  Peer open{Role::kServer, options};
  HeaderMap connect;
  connect.add(Header::kMethod, "CONNECT");
  connect.add(Header::kProtocol, "websocket");
  connect.add(Header::kScheme, "http");
  connect.add(Header::kPath, "/chat");
  connect.add(Header::kAuthority, "example");
  ASSERT_TRUE(client.session.request(stream, connect, false));
  talk(client, open);
  EXPECT_TRUE(client.session.peer_allows_connect());
  EXPECT_THAT(open.log, ElementsAre(HasSubstr(":protocol=websocket")));

  Peer other{Role::kClient};
  PeerStream refused;
  ASSERT_TRUE(other.session.request(refused, connect, false));
  talk(other, server);
  EXPECT_THAT(server.log, IsEmpty());
}

}  // namespace
}  // namespace millrace::http
