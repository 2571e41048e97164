#include "filter/http2_connection.h"

#include "support/http2_peers.h"
#include "support/toy_transport.h"
#include "unit/filter/http1_fixture.h"

namespace millrace::filter {
namespace {

using test::Peer;
using test::PeerStream;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using Role = http::Http2Session::Role;
namespace h2 = stats::http2_codec;

// A client that speaks HTTP/2 over a real socket.
class Http2ConnectionTest : public Http1ConnectionTest {
 protected:
  struct Client {
    TestSocket socket;
    Peer peer{Role::kClient};
    std::vector<std::unique_ptr<PeerStream>> streams;
    std::string unsent;

    PeerStream& request(std::initializer_list<std::pair<std::string_view, std::string_view>> fields, bool end = true) {
      http::HeaderMap map;
      for (const auto& [name, value] : fields) map.add(name, value);
      streams.push_back(std::make_unique<PeerStream>());
      EXPECT_TRUE(peer.session.request(*streams.back(), map, end));
      return *streams.back();
    }
    PeerStream& get(std::string_view path = "/", bool end = true) {
      return request({{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}}, end);
    }
    void say() {
      unsent += peer.drain();
      if (!unsent.empty() && socket.open()) unsent.erase(0, socket.send_some(unsent));
    }
    void hear() {
      socket.poll();
      if (!socket.received.empty()) peer.feed(std::exchange(socket.received, ""));
    }
  };

  void begin() {
    options.http2_stats = store.add_block(h2::kSchema, stats::plain_name("http2."));
    Http1ConnectionTest::begin();
  }
  std::unique_ptr<Client> dial() {
    auto client = std::make_unique<Client>();
    client->socket = connect();
    return client;
  }
  void until(Client& client, const std::function<bool()>& done) {
    turn_until([&] {
      client.say();
      client.hear();
      return done();
    });
  }
  std::string whole(Client& client, PeerStream& stream) {
    until(client, [&] { return stream.closed; });
    return Peer::text(stream.head_map) + " " + stream.body;
  }
  uint64_t counter2(uint16_t index) const { return options.http2_stats->counter(index); }
  void TearDown() override {
    Http1ConnectionTest::TearDown();
    EXPECT_EQ(options.stats->gauge(hs::kDownstreamCxHttp2Active), 0);
    for (uint16_t gauge : {h2::kStreamsActive, h2::kPendingSendBytes, h2::kOutboundFramesActive}) {
      EXPECT_EQ(options.http2_stats->gauge(gauge), 0) << h2::kStats[gauge].name;
    }
  }
};

TEST_F(Http2ConnectionTest, TellsTheProtocolsApartByTheirFirstBytes) {
  begin();
  answer_all();
  auto two = dial();
  EXPECT_THAT(whole(*two, two->get("/two")), HasSubstr(":status=200"));
  TestSocket one = connect();
  EXPECT_THAT(exchange(one, kGet, "ok"), HasSubstr("HTTP/1.1 200 OK"));
  EXPECT_EQ(counter(hs::kDownstreamCxHttp1Total), 1u);
  EXPECT_EQ(counter(hs::kDownstreamCxHttp2Total), 1u);
  EXPECT_EQ(counter(hs::kDownstreamRqHttp1Total), 1u);
  EXPECT_EQ(counter(hs::kDownstreamRqHttp2Total), 1u);
  EXPECT_THAT(app.requests, ElementsAre(HasSubstr("GET /two"), HasSubstr("GET /")));
}

TEST_F(Http2ConnectionTest, TellsThemApartWhenTheyComeByteByByte) {
  begin();
  answer_all();
  TestSocket client = connect();
  const std::string wire = test::preface() + test::frame(test::kHeaders, test::kEndHeaders | test::kEndStream, 1,
                                                         test::get_request());
  for (char c : wire) {
    client.send(std::string_view(&c, 1));
    turn();
  }
  turn_until([&] { return client.received.find("ok") != std::string::npos; }, {&client});
  TestSocket one = connect();
  for (char c : std::string_view("PRI / HTTP/1.1\r\nhost: a\r\n\r\n")) {
    one.send(std::string_view(&c, 1));
    turn();
  }
  read_until(one, "ok");
}

TEST_F(Http2ConnectionTest, CodecTypesAreKeptTo) {
  options.codec = Codec::kHttp1;
  begin();
  auto two = dial();
  two->get();
  two->say();
  read_to_end(two->socket);
  EXPECT_THAT(two->socket.received, HasSubstr("HTTP/1.1 400"));
}

TEST_F(Http2ConnectionTest, ServesHttp2OnlyWhereTold) {
  options.codec = Codec::kHttp2;
  begin();
  answer_all();
  auto two = dial();
  EXPECT_THAT(whole(*two, two->get()), HasSubstr("ok"));
  TestSocket one = connect();
  one.send(kGet);
  read_to_end(one);
  EXPECT_EQ(test::frames_of(one.received).back().type, test::kGoaway);
  EXPECT_EQ(counter(hs::kDownstreamCxProtocolError), 1u);
}

TEST_F(Http2ConnectionTest, AlpnDecidesBeforeAnyByteDoes) {
  begin();
  answer_all();
  const auto toy = [&](std::string protocol, std::string_view bytes) {
    TestSocket client(listener.connect());
    std::unique_ptr<net::Connection> connection = net::Connection::accepted(*loop, listener.accept());
    test::ToyOptions toys;
    toys.protocol = protocol;
    connection->secure(std::make_unique<test::ToyTransport>(toys, false), milliseconds(0));
    host->accept(std::move(connection), *this);
    ++accepted;
    client.send(test::ToyTransport::record(test::ToyTransport::Type::kHello, protocol) +
                test::ToyTransport::record(test::ToyTransport::Type::kData, bytes));
    read_to_end(client);
  };
  toy("h2", kGet);
  EXPECT_EQ(counter(hs::kDownstreamCxHttp2Total), 1u);
  toy("http/1.1", test::preface());
  EXPECT_EQ(counter(hs::kDownstreamCxHttp1Total), 1u);
  EXPECT_EQ(counter(hs::kDownstreamCxProtocolError), 2u);
}

TEST_F(Http2ConnectionTest, WhatThereIsOfAnAnswerGoesBeforeItsReset) {
  begin();
  auto client = dial();
  PeerStream& stream = client->get();
  until(*client, [&] { return !app.live.empty(); });
  app.live.front()->headers("200");
  app.live.front()->data("half");
  app.live.front()->stream->reset_response("cut");
  until(*client, [&] { return stream.closed; });
  EXPECT_EQ(stream.body, "half");
  EXPECT_EQ(stream.code, http::Http2Code::kInternalError);
}

TEST_F(Http2ConnectionTest, ServesManyStreamsAtOnce) {
  begin();
  auto client = dial();
  for (int i = 0; i < 100; ++i) client->get("/" + std::to_string(i));
  until(*client, [&] { return app.live.size() == 100; });
  while (!app.live.empty()) app.live.back()->answer("200", "done");
  until(*client, [&] { return client->streams.front()->closed; });
  for (auto& s : client->streams) EXPECT_EQ(s->body, "done");
  EXPECT_EQ(options.stats->gauge(hs::kDownstreamRqActive), 0);
}

TEST_F(Http2ConnectionTest, CarriesBodiesAndTrailers) {
  begin();
  std::string trailers;
  app.on_whole = [&](Terminal& t) {
    trailers = t.trailers;
    t.headers("200");
    t.data(t.body);
    t.stream->response_trailers().add("grpc-status", "0");
    t.stream->respond_trailers();
  };
  auto client = dial();
  PeerStream& stream = client->get("/", false);
  base::Buffer data;
  data.append(std::string(3 << 20, 'b'));
  http::HeaderMap end;
  end.add("t", "1");
  client->peer.session.send_data(stream, data, false);
  client->peer.session.send_trailers(stream, end);
  until(*client, [&] { return stream.closed; });
  EXPECT_EQ(stream.body.size(), 3u << 20);
  EXPECT_EQ(trailers, "t=1;");
  EXPECT_EQ(Peer::text(stream.trailer_map), "grpc-status=0");
}

TEST_F(Http2ConnectionTest, AnEarlyAnswerEndsTheStreamWithoutError) {
  begin();
  app.on_headers = [](Terminal& t) { t.answer("403", "no"); };
  auto client = dial();
  PeerStream& stream = client->get("/", false);
  until(*client, [&] { return stream.closed; });
  EXPECT_EQ(stream.body, "no");
  EXPECT_EQ(stream.code, http::Http2Code::kNoError);
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("no"));  // the connection goes on
}

TEST_F(Http2ConnectionTest, AResetByTheClientIsFlaggedAndLogged) {
  options.access_logs.push_back(access_log("%PROTOCOL% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  auto client = dial();
  PeerStream& stream = client->get();
  until(*client, [&] { return !app.live.empty(); });
  client->peer.session.reset(stream, http::Http2Code::kCancel);
  until(*client, [&] { return app.live.empty(); });
  EXPECT_EQ(logged(), "HTTP/2 DR http2.remote_reset\n");
  EXPECT_EQ(counter(hs::kDownstreamRqRxReset), 1u);
}

TEST_F(Http2ConnectionTest, AClientThatGoesEndsAllItsStreams) {
  options.access_logs.push_back(access_log("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  auto client = dial();
  client->get();
  client->get();
  until(*client, [&] { return app.live.size() == 2; });
  client->socket.close();
  turn_until([&] { return app.live.empty(); });
  EXPECT_EQ(logged(), "DC downstream_remote_disconnect\nDC downstream_remote_disconnect\n");
}

TEST_F(Http2ConnectionTest, AMalformedRequestEndsTheConnectionAndItsStreams) {
  options.access_logs.push_back(access_log("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"));
  begin();
  TestSocket client = connect();
  const auto head = [](uint32_t id, std::string_view more) {
    return test::frame(test::kHeaders, test::kEndHeaders | test::kEndStream, id,
                       test::get_request() + std::string(more));
  };
  client.send(test::preface() + head(1, ""));
  turn_until([&] { return !app.live.empty(); }, {&client});
  client.send(head(3, test::field("Upper", "x")));
  read_to_end(client);
  EXPECT_EQ(test::frames_of(client.received).back().type, test::kGoaway);
  EXPECT_EQ(logged(), "DPE http2.invalid.header.field\nDPE http2.invalid.header.field\n");
  EXPECT_EQ(counter2(h2::kRxMessagingError), 1u);
}

TEST_F(Http2ConnectionTest, ASlowStreamIsTheOnlyOneThatWaits) {
  facts.per_connection_buffer_limit_bytes = 1 << 20;
  begin();
  auto client = dial();
  client->peer.consume = false;  // windows stay closed
  app.on_whole = [](Terminal& t) {
    t.headers("200");
    t.data(std::string(20 << 20, 'x'));
  };
  PeerStream& slow = client->get();
  until(*client, [&] { return slow.body.size() == 16u << 20; });
  EXPECT_EQ(app.log, "above;");
  app.on_whole = [](Terminal& t) { t.answer("200", "quick"); };
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("quick"));
  client->peer.session.consume(slow, slow.body.size());
  until(*client, [&] { return slow.body.size() == 20u << 20; });
  EXPECT_EQ(app.log, "above;below;");
  app.live.front()->data("", true);
  until(*client, [&] { return slow.closed; });
}

TEST_F(Http2ConnectionTest, APausedRequestHoldsBackItsOwnWindowAlone) {
  begin();
  auto client = dial();
  PeerStream& slow = client->get("/", false);
  until(*client, [&] { return !app.live.empty(); });
  Terminal& terminal = *app.live.front();
  terminal.stream->pause_request();
  base::Buffer data;
  data.append(std::string(20 << 20, 'x'));
  client->peer.session.send_data(slow, data, true);
  until(*client, [&] { return slow.unsent() <= 4u << 20; });
  turn(10);
  EXPECT_TRUE(terminal.body.empty());
  answer_all();
  EXPECT_THAT(whole(*client, client->get("/other")), HasSubstr("ok"));
  app.on_whole = [](Terminal& t) { t.answer("200", std::to_string(t.body.size())); };
  terminal.stream->resume_request();
  EXPECT_THAT(whole(*client, slow), HasSubstr(std::to_string(20 << 20)));
}

TEST_F(Http2ConnectionTest, RapidResetsEndTheConnection) {
  begin();
  auto client = dial();
  for (int i = 0; i < 600 && !client->socket.ended; ++i) {
    PeerStream& stream = client->get();
    client->say();
    client->peer.session.reset(stream, http::Http2Code::kCancel);
    client->say();
    turn();
    client->hear();
  }
  read_to_end(client->socket);
  EXPECT_EQ(counter(hs::kDownstreamRqTooManyPrematureResets), 1u);
  EXPECT_LE(counter(hs::kDownstreamRqTotal), 300u);
}

TEST_F(Http2ConnectionTest, DrainsInTwoStepsAndServesWhatWasOnItsWay) {
  options.drain_timeout = milliseconds(50);
  begin();
  auto client = dial();
  client->get();
  until(*client, [&] { return !app.live.empty(); });
  host->drain();
  until(*client, [&] { return client->peer.log.size() == 2; });
  EXPECT_THAT(client->peer.log, ElementsAre("goaway 2147483647 0", "goaway 1 0"));
  app.live.front()->answer("200", "last");
  until(*client, [&] { return client->socket.ended; });
  EXPECT_EQ(client->streams[0]->body, "last");
  EXPECT_EQ(counter2(h2::kGoawaySent), 2u);
}

TEST_F(Http2ConnectionTest, EndsAfterItsRequests) {
  options.drain_timeout = milliseconds(10);
  options.max_requests_per_connection = 2;
  begin();
  answer_all();
  auto client = dial();
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("ok"));
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("ok"));
  until(*client, [&] { return client->socket.ended; });
  EXPECT_EQ(counter(hs::kDownstreamCxMaxRequestsReached), 1u);
}

TEST_F(Http2ConnectionTest, EndsWhenIdle) {
  options.drain_timeout = milliseconds(10);
  options.idle_timeout = milliseconds(20);
  begin();
  answer_all();
  auto client = dial();
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("ok"));
  until(*client, [&] { return client->socket.ended; });
  EXPECT_EQ(counter(hs::kDownstreamCxIdleTimeout), 1u);
  EXPECT_EQ(counter2(h2::kGoawaySent), 2u);
}

TEST_F(Http2ConnectionTest, EndsAHeadThatDoesNot) {
  options.request_headers_timeout = milliseconds(20);
  begin();
  TestSocket client = connect();
  client.send(test::preface() + test::frame(test::kHeaders, test::kEndStream, 1, test::get_request()));
  read_to_end(client);
  EXPECT_EQ(counter(hs::kDownstreamRqHeaderTimeout), 1u);
  bool answered = false;
  for (const test::RawFrame& f : test::frames_of(client.received)) answered |= f.type == test::kHeaders;
  EXPECT_TRUE(answered);
}

TEST_F(Http2ConnectionTest, PingsAClientAndLeavesOneThatDoesNotAnswer) {
  options.http2.keepalive_interval = milliseconds(10);
  options.http2.keepalive_timeout = milliseconds(30);
  begin();
  answer_all();
  auto client = dial();
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("ok"));
  const uint64_t before = client->peer.session.frames_received();
  until(*client, [&] { return client->peer.session.frames_received() > before + 3; });
  EXPECT_EQ(counter2(h2::kKeepaliveTimeout), 0u);
  turn_until([&] { return ended_connections == 1; });  // says nothing any more
  EXPECT_EQ(counter2(h2::kKeepaliveTimeout), 1u);
}

TEST_F(Http2ConnectionTest, AClientThatGivesNoWindowIsLeftAfterAWhile) {
  options.stream_idle_timeout = milliseconds(30);
  options.http2.keepalive_interval = milliseconds(0);
  begin();
  answer_all();
  TestSocket client = connect();
  // SETTINGS_INITIAL_WINDOW_SIZE 0
  client.send(std::string(http::kHttp2Preface) +
              test::frame(test::kSettings, 0, 0, std::string("\0\x04\0\0\0\0", 6)) +
              test::frame(test::kHeaders, test::kEndHeaders | test::kEndStream, 1, test::get_request()));
  turn_until([&] { return counter2(h2::kTxFlushTimeout) == 1; }, {&client});
  turn_until([&] { return counter2(h2::kTxReset) == 1; }, {&client});
}

TEST_F(Http2ConnectionTest, WebSocketsOverHttp2AreUpgradesInside) {
  options.http2.allow_connect = true;
  options.upgrades.push_back({"websocket", true});
  begin();
  auto client = dial();
  client->get();  // its answer tells the setting
  until(*client, [&] { return !app.live.empty(); });
  app.live.front()->answer("200", "");
  PeerStream& stream = client->request({{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"},
                                        {":path", "/chat"}, {":authority", "a"}}, false);
  until(*client, [&] { return !app.live.empty(); });
  Terminal& terminal = *app.live.front();
  EXPECT_EQ(terminal.request(":method"), "GET");
  EXPECT_EQ(terminal.request("upgrade"), "websocket");
  EXPECT_EQ(terminal.request("connection"), "upgrade");
  terminal.headers("101", {{"upgrade", "websocket"}, {"connection", "upgrade"}});
  base::Buffer data;
  data.append("ping");
  client->peer.session.send_data(stream, data, false);
  until(*client, [&] { return terminal.body == "ping"; });
  terminal.data("pong");
  until(*client, [&] { return stream.body == "pong"; });
  EXPECT_THAT(Peer::text(stream.head_map), HasSubstr(":status=200"));
  EXPECT_THAT(Peer::text(stream.head_map), testing::Not(HasSubstr("upgrade")));
  EXPECT_EQ(options.stats->gauge(hs::kDownstreamCxUpgradesActive), 1);
  client->peer.session.send_data(stream, data, true);
  until(*client, [&] { return terminal.ended; });
  terminal.data("", true);
  until(*client, [&] { return stream.closed; });
}

TEST_F(Http2ConnectionTest, UnderscoresAreRefusedOrDropped) {
  options.headers_with_underscores = UnderscoreHeaders::kReject;
  begin();
  answer_all();
  auto client = dial();
  PeerStream& stream = client->request(
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}, {"a_b", "1"}});
  until(*client, [&] { return stream.closed; });
  EXPECT_NE(stream.code, http::Http2Code::kNoError);
  EXPECT_EQ(counter2(h2::kRequestsRejectedWithUnderscoresInHeaders), 1u);
  EXPECT_THAT(whole(*client, client->get()), HasSubstr("ok"));
}

TEST_F(Http2ConnectionTest, AnInformationalAnswerGoesBefore) {
  begin();
  app.on_whole = [](Terminal& t) { t.answer("200", "ok"); };
  auto client = dial();
  PeerStream& stream = client->request(
      {{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}, {"expect", "100-continue"}},
      false);
  until(*client, [&] { return client->peer.log.size() == 1; });
  EXPECT_THAT(client->peer.log, ElementsAre("1xx :status=100"));
  base::Buffer data;
  data.append("body");
  client->peer.session.send_data(stream, data, true);
  EXPECT_THAT(whole(*client, stream), HasSubstr("ok"));
}

}  // namespace
}  // namespace millrace::filter
