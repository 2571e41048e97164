#include "upstream/grpc_client.h"

#include "unit/upstream/http2_peer.h"
#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using http::Header;

std::string frame(std::string_view message) {
  base::Buffer out;
  http::append_grpc_frame(message, out);
  return out.to_string();
}

struct Recorder final : GrpcStreamHandler, GrpcUnaryCall::Handler, GrpcPersistentStream::Handler {
  void on_headers(GrpcStream&, const http::HeaderMap&) override { log += "headers;"; }
  void on_message(GrpcStream& stream, base::Buffer& message) override {
    log += message.to_string() + ";";
    if (when_message) when_message(stream);
  }
  void on_writable(GrpcStream&) override { log += "writable;"; }
  void on_closed(GrpcStream& stream, const GrpcStatus& status, const http::HeaderMap&) override {
    note(status);
    if (when_closed) when_closed(stream);
  }
  void on_reply(GrpcUnaryCall&, const GrpcStatus& status, base::Buffer& message) override {
    log += message.to_string() + ";";
    note(status);
  }
  void on_begin(GrpcPersistentStream& stream) override {
    log += "begin;";
    stream.send("hello");
  }
  void on_message(GrpcPersistentStream&, base::Buffer& message) override { log += message.to_string() + ";"; }
  void on_end(GrpcPersistentStream&, const GrpcStatus& status) override { note(status); }

  void note(const GrpcStatus& status) {
    log += "status " + std::to_string(status.code) + ";";
    message = status.message;
  }
  std::string log, message;
  std::function<void(GrpcStream&)> when_message, when_closed;
};

class GrpcClientTest : public PoolTest {
 protected:
  void begin_http2(size_t hosts = 1) {
    ClusterOptions options = cluster_options(std::vector<uint32_t>(hosts, 1));
    options.http.protocol = HttpProtocol::kHttp2;
    begin(std::move(options));
  }
  Http2Peer& connect() {
    const size_t n = network->opened() - 1;
    network->accept_connection(n);
    Http2Peer& peer = *peers.emplace_back(std::make_unique<Http2Peer>(*network, n));
    exchange(peer);
    return peer;
  }
  void exchange(Http2Peer& peer) {
    for (int i = 0; i < 3; ++i) {
      turn();
      peer.pump();
    }
    turn();
  }
  void headers(Http2Peer& peer, size_t n) {
    http::HeaderMap map;
    map.add(Header::kStatus, "200");
    map.add(Header::kContentType, "application/grpc+proto");
    peer.session().send_headers(peer.request(n), map, false);
  }
  void status(Http2Peer& peer, size_t n, std::string_view code, std::string_view message = {}) {
    http::HeaderMap map;
    map.add(Header::kGrpcStatus, code);
    if (!message.empty()) map.add(Header::kGrpcMessage, message);
    peer.session().send_trailers(peer.request(n), map);
  }
  std::vector<std::unique_ptr<Http2Peer>> peers;
  Recorder seen;
};

constexpr std::string_view kPath = "/test.Echo/Say";

TEST_F(GrpcClientTest, AUnaryCallSendsOneMessageAndHearsOne) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  const std::pair<std::string_view, std::string_view> metadata{"x-tenant", "7"};
  call.start({.path = kPath, .deadline = base::seconds(5), .metadata = {&metadata, 1}}, "question");
  Http2Peer& peer = connect();
  ASSERT_EQ(peer.requests(), 1u);
  const Http2Peer::Request& request = peer.request(0);
  EXPECT_EQ(request.get(Header::kMethod), "POST");
  EXPECT_EQ(request.get(Header::kPath), kPath);
  EXPECT_EQ(request.get(Header::kAuthority), "backend");
  EXPECT_EQ(request.get(Header::kTe), "trailers");
  EXPECT_EQ(request.get(Header::kContentType), "application/grpc");
  EXPECT_EQ(request.get(Header::kGrpcTimeout), "5000m");
  EXPECT_EQ(request.head_map.get("x-tenant"), "7");
  EXPECT_EQ(request.body, frame("question"));
  EXPECT_EQ(request.ended, "end");
  headers(peer, 0);
  peer.say(0, frame("answer"), false);
  status(peer, 0, "0");
  exchange(peer);
  EXPECT_EQ(seen.log, "answer;status 0;");
  EXPECT_TRUE(call.idle());
}

TEST_F(GrpcClientTest, AStatusMayComeWithoutAnythingElse) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath}, "question");
  Http2Peer& peer = connect();
  EXPECT_FALSE(peer.request(0).head_map.has(Header::kGrpcTimeout));
  http::HeaderMap map;
  map.add(Header::kStatus, "200");
  map.add(Header::kGrpcStatus, "5");
  map.add(Header::kGrpcMessage, "no%20such thing");
  peer.session().send_headers(peer.request(0), map, true);
  exchange(peer);
  EXPECT_EQ(seen.log, ";status 5;");
  EXPECT_EQ(seen.message, "no such thing");
}

TEST_F(GrpcClientTest, OkWithoutAMessageIsAnError) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath}, "question");
  Http2Peer& peer = connect();
  headers(peer, 0);
  status(peer, 0, "0");
  exchange(peer);
  EXPECT_EQ(seen.log, ";status 13;");
}

TEST_F(GrpcClientTest, MessagesGoBothWaysWhileTheStreamIsOpen) {
  begin_http2();
  GrpcStream stream(*local, seen);
  stream.start({.path = kPath});
  stream.send("one");
  Http2Peer& peer = connect();
  stream.send("two");
  headers(peer, 0);
  peer.say(0, frame("first") + frame("second").substr(0, 7), false);
  exchange(peer);
  EXPECT_EQ(peer.request(0).body, frame("one") + frame("two"));
  EXPECT_EQ(seen.log, "headers;first;");
  peer.say(0, frame("second").substr(7), false);
  stream.end();
  exchange(peer);
  EXPECT_EQ(peer.request(0).ended, "end");
  status(peer, 0, "0");
  exchange(peer);
  EXPECT_EQ(seen.log, "headers;first;second;status 0;");
}

TEST_F(GrpcClientTest, APausedReaderGetsEverythingLaterAndThenTheStatus) {
  begin_http2();
  GrpcStream stream(*local, seen);
  stream.start({.path = kPath});
  Http2Peer& peer = connect();
  seen.when_message = [](GrpcStream& of) { of.pause_reading(); };
  headers(peer, 0);
  peer.say(0, frame("first") + frame("second"), false);
  status(peer, 0, "0");
  exchange(peer);
  EXPECT_EQ(seen.log, "headers;first;");
  stream.resume_reading();
  turn();
  EXPECT_EQ(seen.log, "headers;first;second;");
  stream.resume_reading();
  turn();
  EXPECT_EQ(seen.log, "headers;first;second;status 0;");
}

TEST_F(GrpcClientTest, SaysWhenTheServerReadsTooSlowly) {
  begin_http2();
  GrpcStream stream(*local, seen);
  stream.start({.path = kPath});
  const std::string large(2 << 20, 'x');
  stream.send(large);
  EXPECT_FALSE(stream.writable());
  Http2Peer& peer = connect();
  for (int i = 0; i < 50 && !stream.writable(); ++i) exchange(peer);
  EXPECT_TRUE(stream.writable());
  EXPECT_EQ(seen.log, "writable;");
  stream.cancel();
}

TEST_F(GrpcClientTest, TheDeadlineEndsTheCall) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath, .deadline = base::milliseconds(100)}, "question");
  Http2Peer& peer = connect();
  advance(base::milliseconds(102));
  peer.pump();
  EXPECT_EQ(seen.log, ";status 4;");
  EXPECT_EQ(peer.request(0).ended, "8");
  EXPECT_EQ(counter(stat::kUpstreamRqTimeout), 1u);
}

TEST_F(GrpcClientTest, TheDeadlineHoldsAlsoForTheConnection) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath, .deadline = base::milliseconds(100)}, "question");
  advance(base::milliseconds(102));
  EXPECT_EQ(seen.log, ";status 4;");
}

TEST_F(GrpcClientTest, FailuresToReachTheServerAreUnavailable) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath}, "question");
  network->refuse_connection(0);
  turn();
  EXPECT_EQ(seen.log, ";status 14;");
  seen.log.clear();
  call.start({.path = kPath}, "question");
  Http2Peer& peer = connect();
  peer.session().reset(peer.request(0), http::Http2Code::kRefusedStream);
  exchange(peer);
  EXPECT_EQ(seen.log, ";status 14;");
  EXPECT_EQ(seen.message, "remote refused stream reset");
}

TEST_F(GrpcClientTest, WithoutAHostTheFailureComesAfterTheCall) {
  begin_http2();
  host().set(HealthFlag::kFailedActiveHc);
  GrpcUnaryCall call(*local, seen);
  ClusterOptions options = cluster_options({});
  TestCluster empty(std::move(options));
  ThreadLocalCluster nobody(empty, *loop, 0);
  GrpcUnaryCall lost(nobody, seen);
  lost.start({.path = kPath}, "question");
  EXPECT_EQ(seen.log, "");
  turn();
  EXPECT_EQ(seen.log, ";status 14;");
  EXPECT_EQ(seen.message, "no healthy upstream");
}

TEST_F(GrpcClientTest, WhatIsNotGrpcIsRefused) {
  begin_http2();
  GrpcUnaryCall call(*local, seen);
  call.start({.path = kPath}, "question");
  Http2Peer& peer = connect();
  peer.answer(0, "503", "<html>");
  exchange(peer);
  EXPECT_EQ(seen.log, ";status 14;");
  seen.log.clear();
  call.start({.path = kPath}, "question");
  exchange(peer);
  peer.answer(1, "200", "<html>");
  exchange(peer);
  EXPECT_EQ(seen.log, ";status 2;");
}

TEST_F(GrpcClientTest, BrokenMessagesEndTheCall) {
  begin_http2();
  for (const std::string& bytes : {std::string("\1\0\0\0\1x", 6), frame(std::string(100, 'x'))}) {
    seen.log.clear();
    GrpcStream stream(*local, seen);
    stream.start({.path = kPath, .message_bytes_max = 10});
    if (peers.empty()) connect();
    Http2Peer& peer = *peers[0];
    exchange(peer);
    const size_t n = peer.requests() - 1;
    headers(peer, n);
    peer.say(n, bytes, false);
    exchange(peer);
    EXPECT_EQ(seen.log, "headers;status 13;");
    EXPECT_EQ(peer.request(n).ended, "8");
  }
}

TEST_F(GrpcClientTest, AStreamMayEndAndBeginAgainFromItsEnd) {
  begin_http2();
  GrpcStream stream(*local, seen);
  int left = 1;
  seen.when_closed = [&](GrpcStream& of) {
    if (left-- > 0) of.start({.path = kPath});
  };
  stream.start({.path = kPath});
  Http2Peer& peer = connect();
  for (size_t n : {0, 1}) {
    ASSERT_EQ(peer.requests(), n + 1);
    headers(peer, n);
    status(peer, n, "0");
    exchange(peer);
  }
  EXPECT_EQ(seen.log, "headers;status 0;headers;status 0;");
}

TEST_F(GrpcClientTest, AStreamMayBeCancelledFromItsMessage) {
  begin_http2();
  GrpcStream stream(*local, seen);
  seen.when_message = [](GrpcStream& of) { of.cancel(); };
  stream.start({.path = kPath});
  Http2Peer& peer = connect();
  headers(peer, 0);
  peer.say(0, frame("first") + frame("second"), false);
  exchange(peer);
  EXPECT_EQ(seen.log, "headers;first;");
  EXPECT_EQ(peer.request(0).ended, "8");
}

TEST_F(GrpcClientTest, APersistentStreamComesBackAfterABackOff) {
  begin_http2();
  GrpcPersistentStream stream(*local, {.path = std::string(kPath)}, seen);
  stream.start();
  Http2Peer& peer = connect();
  ASSERT_EQ(peer.requests(), 1u);
  EXPECT_EQ(peer.request(0).body, frame("hello"));
  headers(peer, 0);
  peer.say(0, frame("news"), false);
  status(peer, 0, "14");
  exchange(peer);
  EXPECT_EQ(seen.log, "begin;news;status 14;");
  EXPECT_FALSE(stream.has_stream());
  advance(base::milliseconds(502));
  exchange(peer);
  EXPECT_EQ(seen.log, "begin;news;status 14;begin;");
  EXPECT_EQ(peer.requests(), 2u);
  stream.stop();
  exchange(peer);
  EXPECT_EQ(peer.request(1).ended, "8");
  advance(base::seconds(60));
  EXPECT_EQ(peer.requests(), 2u);
}

TEST(BackOff, DoublesUpToItsMaximumAndBeginsAnew) {
  base::Prng prng(1);
  BackOff back_off(base::milliseconds(100), base::milliseconds(1'000));
  for (int round : {0, 1}) {
    for (int64_t bound : {100, 200, 400, 800, 1'000, 1'000}) {
      EXPECT_LT(back_off.next(prng).count(), bound) << round;
    }
    back_off.reset();
  }
  for (int i = 0; i < 10; ++i) back_off.next(prng);
  int64_t largest = 0;
  for (int i = 0; i < 100; ++i) largest = std::max(largest, back_off.next(prng).count());
  EXPECT_GT(largest, 900);
}

}  // namespace
}  // namespace millrace::upstream
