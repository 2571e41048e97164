#include "upstream/http1_client.h"

#include "unit/upstream/pool_fixture.h"

namespace millrace::upstream {
namespace {

using Start = HttpPool::Start;

class Http1ClientTest : public PoolTest {
 protected:
  void connect(Client& client) {
    if (client.start() == Start::kPending) network->accept_connection(network->opened() - 1);
    turn();
  }
  void answer(std::string bytes, size_t peer = 0) {
    network->peer(peer).says.push_back(std::move(bytes));
    turn();
  }
  bool reusable(size_t peer = 0) { return !network->peer(peer).closed; }
};

TEST_F(Http1ClientTest, FramesTheBodyByContentLength) {
  begin();
  Client a(pool());
  a.headers_only = false;
  a.request_headers.add(http::Header::kContentLength, "5");
  connect(a);
  base::Buffer body;
  body.append("hello");
  a.request.send_data(body, true);
  turn();
  EXPECT_EQ(network->peer(0).received, "GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello");
  answer(kOk);
  EXPECT_TRUE(reusable());
}

TEST_F(Http1ClientTest, ChunksABodyOfUnknownLength) {
  begin();
  Client a(pool());
  a.headers_only = false;
  connect(a);
  for (const char* part : {"hello", " world"}) {
    base::Buffer body;
    body.append(part);
    a.request.send_data(body, part[0] == ' ');
  }
  turn();
  EXPECT_EQ(network->peer(0).received,
            "GET / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
}

TEST_F(Http1ClientTest, SaysThatAPostHasNoBody) {
  begin();
  Client a(pool());
  a.request_headers.set(http::Header::kMethod, "POST");
  connect(a);
  EXPECT_EQ(network->peer(0).received, "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n");
}

TEST_F(Http1ClientTest, SendsTrailersWhenTheyAreEnabled) {
  for (bool enabled : {true, false}) {
    ClusterOptions options = cluster_options({1});
    options.http.enable_trailers = enabled;
    begin(std::move(options));
    {
      Client a(pool());
      a.headers_only = false;
      connect(a);
      http::HeaderMap trailers;
      trailers.add("x-sum", "1");
      a.request.send_trailers(trailers);
      turn();
      const std::string& sent = network->peer(0).received;
      EXPECT_EQ(sent.substr(sent.find("\r\n\r\n") + 4), enabled ? "0\r\nx-sum: 1\r\n\r\n" : "0\r\n\r\n");
    }
    TearDown();
  }
}

TEST_F(Http1ClientTest, ParsesAResponseHoweverItIsCut) {
  const std::string response =
      "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  begin();
  Client a(pool());
  for (size_t step : {response.size(), size_t{1}, size_t{7}}) {
    a.log.clear();
    a.body.clear();
    connect(a);
    for (size_t at = 0; at < response.size(); at += step) network->peer(0).says.push_back(response.substr(at, step));
    turn();
    EXPECT_EQ(a.body, "abcde");
    EXPECT_TRUE(a.log.starts_with("info 103;headers 200;")) << a.log;
    EXPECT_TRUE(a.log.ends_with("end;")) << a.log;
    EXPECT_EQ(a.log.find("end;"), a.log.size() - 4);
  }
  EXPECT_EQ(network->opened(), 1u);
}

TEST_F(Http1ClientTest, AResponseWithoutBodyEndsWithItsHead) {
  begin();
  Client a(pool());
  a.request_headers.set(http::Header::kMethod, "HEAD");
  connect(a);
  answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
  EXPECT_EQ(a.log, "headers 200 end;");
  a.request_headers.set(http::Header::kMethod, "GET");
  connect(a);
  answer("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(a.log, "headers 200 end;headers 204 end;");
  EXPECT_TRUE(reusable());
}

TEST_F(Http1ClientTest, DeliversTrailers) {
  ClusterOptions options = cluster_options({1});
  options.http.enable_trailers = true;
  begin(std::move(options));
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n");
  EXPECT_EQ(a.log, "headers 200;data a;trailers;");
  EXPECT_EQ(a.trailers.get("x-sum"), "7");
  EXPECT_TRUE(reusable());
}

TEST_F(Http1ClientTest, ABodyMayEndWithTheConnection) {
  begin();
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 200 OK\r\n\r\nall of it");
  network->peer(0).ends = true;
  turn();
  EXPECT_EQ(a.log, "headers 200;data all of it;data  end;");
  EXPECT_FALSE(reusable());
}

TEST_F(Http1ClientTest, DoesNotReuseAConnectionThatThePeerCloses) {
  begin();
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(a.log, "headers 200 end;");
  EXPECT_FALSE(reusable());
  EXPECT_EQ(counter(stat::kUpstreamCxCloseNotify), 1u);
}

TEST_F(Http1ClientTest, DoesNotReuseAConnectionWithBytesLeftOver) {
  begin();
  Client a(pool());
  connect(a);
  answer(std::string(kOk) + "HTTP/1.1 200 OK\r\n");
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_FALSE(reusable());
}

TEST_F(Http1ClientTest, ClosesAnIdleConnectionThatSpeaksUnasked) {
  begin();
  Client a(pool());
  connect(a);
  answer(kOk);
  answer("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
  EXPECT_FALSE(reusable());
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyRemote), 1u);
  EXPECT_EQ(a.log, "headers 200;data ok end;");
}

TEST_F(Http1ClientTest, DoesNotReuseAfterAResponseThatCameBeforeTheRequestWasWhole) {
  begin();
  Client a(pool());
  a.headers_only = false;
  connect(a);
  answer("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(a.log, "headers 413 end;");
  EXPECT_FALSE(reusable());
  base::Buffer late;
  late.append("late");
  a.request.send_data(late, true);
  EXPECT_TRUE(late.empty());
}

TEST_F(Http1ClientTest, TellsAStaleConnectionFromOneThatFailed) {
  begin();
  Client a(pool());
  connect(a);
  network->peer(0).ends = true;
  turn();
  EXPECT_EQ(a.log, "reset connection termination;");  // the first request: nobody's fault but the server's
  a.log.clear();
  connect(a);
  answer(kOk, 1);
  connect(a);
  network->peer(1).ends = true;
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;reset connection termination stale;");
  a.log.clear();
  connect(a);
  answer(kOk, 2);
  connect(a);
  answer("HTTP/1.1 2", 2);
  network->peer(2).error = ECONNRESET;
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;reset connection termination;");
  EXPECT_EQ(counter(stat::kUpstreamRqRxReset), 3u);
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyRemoteWithActiveRq), 3u);
}

TEST_F(Http1ClientTest, AFreshStartLeavesIdleConnectionsAlone) {
  begin();
  Client a(pool());
  connect(a);
  answer(kOk);
  ASSERT_EQ(pool().start(a.request, true), Start::kPending);
  ASSERT_EQ(network->opened(), 2u);
  network->accept_connection(1);
  turn();
  EXPECT_TRUE(network->peer(1).received.starts_with("GET"));
}

TEST_F(Http1ClientTest, KeepsTheFactsOfAConnectionThatIsGone) {
  begin();
  Client a(pool()), b(pool());
  connect(a);
  connect(b);
  const auto info = a.request.connection_info();
  ASSERT_NE(info, nullptr);
  EXPECT_NE(info->id, b.request.connection_info()->id);
  EXPECT_EQ(a.request.connection_info(), info);
  a.request.cancel();
  turn();
  EXPECT_EQ(a.request.connection_info(), nullptr);
  EXPECT_EQ(info->remote_address->to_string(), "127.0.0.1:1");
}

TEST_F(Http1ClientTest, ResetsOnABrokenResponse) {
  begin();
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 200 OK\r\nbad header\r\n\r\n");
  EXPECT_EQ(a.log, "reset protocol error;");
  EXPECT_EQ(counter(stat::kUpstreamCxProtocolError), 1u);
}

TEST_F(Http1ClientTest, ResetsOnMoreHeadersThanAllowed) {
  ClusterOptions options = cluster_options({1});
  options.http.max_headers_count = 2;
  begin(std::move(options));
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n");
  EXPECT_EQ(a.log, "reset protocol error;");
}

TEST_F(Http1ClientTest, ACancelledRequestTakesItsConnectionAlong) {
  begin();
  Client a(pool());
  connect(a);
  a.request.cancel();
  turn();
  EXPECT_FALSE(reusable());
  EXPECT_EQ(a.log, "");
  EXPECT_EQ(counter(stat::kUpstreamRqTxReset), 1u);
  EXPECT_EQ(counter(stat::kUpstreamCxDestroyLocalWithActiveRq), 1u);
}

TEST_F(Http1ClientTest, ARequestMayBeCancelledFromWithinItsResponse) {
  begin();
  Client a(pool());
  a.when_headers = [&] { a.request.cancel(); };
  connect(a);
  answer(kOk);
  EXPECT_EQ(a.log, "headers 200;");
  EXPECT_FALSE(reusable());
}

TEST_F(Http1ClientTest, StopsReadingWhilePaused) {
  begin();
  Client a(pool());
  a.when_headers = [&] { a.request.pause_reading(); };
  connect(a);
  answer(kOk);
  EXPECT_EQ(a.log, "headers 200;");
  turn();
  EXPECT_EQ(a.log, "headers 200;");
  a.request.resume_reading();
  turn();
  EXPECT_EQ(a.log, "headers 200;data ok end;");
  EXPECT_TRUE(reusable());
  EXPECT_EQ(counter(stat::kUpstreamFlowControlPausedReadingTotal), 1u);
  EXPECT_EQ(counter(stat::kUpstreamFlowControlResumedReadingTotal), 1u);
}

TEST_F(Http1ClientTest, APausedReaderStillHearsTheEnd) {
  begin();
  Client a(pool());
  a.when_headers = [&] { a.request.pause_reading(); };
  connect(a);
  network->peer(0).ends = true;
  answer("HTTP/1.1 200 OK\r\n\r\nrest");
  EXPECT_EQ(a.log, "headers 200;");
  a.request.resume_reading();
  turn();
  EXPECT_EQ(a.log, "headers 200;data rest;data  end;");
}

TEST_F(Http1ClientTest, TellsWhenTheServerReadsTooSlowly) {
  ClusterOptions options = cluster_options({1});
  options.per_connection_buffer_limit_bytes = 100;
  begin(std::move(options));
  Client a(pool());
  a.headers_only = false;
  connect(a);
  base::Buffer body;
  body.append(std::string(500, 'x'));
  a.request.send_data(body, false);
  EXPECT_EQ(a.log, "above;");
  turn();
  EXPECT_EQ(a.log, "above;below;");
}

TEST_F(Http1ClientTest, SwitchesToRawBytesOnUpgrade) {
  begin();
  Client a(pool());
  a.headers_only = false;
  a.request_headers.add(http::Header::kConnection, "upgrade");
  a.request_headers.add(http::Header::kUpgrade, "websocket");
  connect(a);
  answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi");
  EXPECT_EQ(a.log, "headers 101;data hi;");
  base::Buffer bytes;
  bytes.append("yo");
  a.request.send_data(bytes, false);
  turn();
  EXPECT_TRUE(network->peer(0).received.ends_with("\r\n\r\nyo"));
  answer("0\r\n\r\n");
  network->peer(0).ends = true;
  turn();
  EXPECT_EQ(a.log, "headers 101;data hi;data 0\r\n\r\n;data  end;");
  EXPECT_FALSE(reusable());
}

TEST_F(Http1ClientTest, ARefusedUpgradeIsAnOrdinaryResponse) {
  begin();
  Client a(pool());
  a.headers_only = false;
  a.request_headers.add(http::Header::kConnection, "Upgrade");
  a.request_headers.add(http::Header::kUpgrade, "websocket");
  connect(a);
  answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  EXPECT_EQ(a.log, "headers 403;data no end;");
  EXPECT_FALSE(reusable());
}

TEST_F(Http1ClientTest, RefusesToSwitchUnasked) {
  begin();
  Client a(pool());
  connect(a);
  answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  EXPECT_EQ(a.log, "reset protocol error;");
}

TEST_F(Http1ClientTest, SaysWhichHeadersCannotBeSent) {
  begin();
  Client a(pool());
  http::HeaderMap none;
  ASSERT_EQ(pool().start(a.request), Start::kPending);
  a.request.cancel();
  connect(a);
  answer(kOk);
  ASSERT_EQ(pool().start(a.request), Start::kReady);
  EXPECT_FALSE(a.request.send_headers(none, true));
  a.request.cancel();
}

}  // namespace
}  // namespace millrace::upstream
