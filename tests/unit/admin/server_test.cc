#include "admin/server.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "fixture.h"
#include "stats/names.h"
#include "stats/schema_cluster.h"
#include "stats/schema_http.h"
#include "stats/schema_listener.h"
#include "stream/access_log.h"

namespace millrace::admin {
namespace {

namespace http_stat = stats::http;

class AdminServerTest : public AdminTest {
 protected:
  uint64_t counter(uint16_t index) { return http_block()->counter(index); }
  stats::StatBlockPtr http_block() { return store_.add_block(stats::http::kSchema, stats::http_name("admin")); }
  stats::StatBlockPtr listener_block() {
    return store_.add_block(stats::listener::kSchema, stats::listener_name("admin"));
  }
  // So many statistics that a scrape takes many slices.
  void fill_store(size_t statistics) {
    while (filled_ < statistics) {
      blocks_.push_back(
          store_.add_block(stats::cluster::kSchema, stats::cluster_name("c" + std::to_string(blocks_.size()))));
      filled_ += stats::cluster::kSchema.stats.size();
    }
  }
  std::vector<stats::StatBlockPtr> blocks_;
  size_t filled_ = 0;
};

TEST_F(AdminServerTest, AnswersPipelinedRequestsInOrder) {
  Client& c = client();
  c.request("/ready");
  c.request("/stats?filter=server");
  c.request("/hot_restart_version");
  run_until([&] { return c.answers.size() == 3; });
  EXPECT_EQ(c.answers[0].body, "LIVE\n");
  EXPECT_EQ(c.answers[1].headers.count("transfer-encoding"), 1u);
  EXPECT_EQ(c.answers[2].body, "disabled");
}

TEST_F(AdminServerTest, ClosesWhenAskedTo) {
  Client& c = client();
  c.request("/ready", "GET", "connection: close\r\n");
  run_until([&] { return c.ended; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].headers.at("connection"), "close");
}

TEST_F(AdminServerTest, AnswersHttp10WithoutChunks) {
  Client& c = client();
  c.send("GET /stats?filter=^listener.admin.downstream_cx_total HTTP/1.0\r\nhost: a\r\n\r\n");
  run_until([&] { return c.ended; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(c.answers[0].body, "listener.admin.downstream_cx_total: 1\n");
}

TEST_F(AdminServerTest, HeadHasTheHeadersAlone) {
  const Answer head = get("/ready", "HEAD");
  EXPECT_EQ(head.status, 200u);
  EXPECT_EQ(head.headers.at("content-length"), "5");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(get("/stats", "HEAD").body, "");
}

TEST_F(AdminServerTest, AHalfClosedClientGetsItsAnswer) {
  fill_store(20000);
  Client& c = client();
  base::Buffer request;
  request.append("GET /stats HTTP/1.1\r\nhost: a\r\n\r\n");
  c.connection->write(request, true);
  run_until([&] { return c.ended; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_GE(std::count(c.answers[0].body.begin(), c.answers[0].body.end(), '\n'), 10000);
}

TEST_F(AdminServerTest, ReadyIsAnsweredWhileALongScrapeIsUnderWay) {
  fill_store(100000);
  for (const char* scrape :
       {"/stats", "/stats/prometheus", "/stats?format=json", "/stats?filter=nothing_is_called_so"}) {
    SCOPED_TRACE(scrape);
    Client& scraper = client();
    Client& prober = client();
    scraper.request("/ready");
    prober.request("/ready");
    run_until([&] { return scraper.answers.size() == 1 && prober.answers.size() == 1; });
    scraper.request(scrape);
    const uint64_t begun = loop_->turns();
    uint64_t slowest = 0;
    int probes = 0;
    while (scraper.answers.size() == 1) {
      prober.request("/ready");
      const size_t wanted = prober.answers.size() + 1;
      const uint64_t asked = loop_->turns();
      run_until([&] { return prober.answers.size() == wanted; });
      slowest = std::max(slowest, loop_->turns() - asked);
      ++probes;
    }
    // Sent, read and answered, received: a turn each, and one for the kernel's own pace.
    EXPECT_LE(slowest, 4u);
    EXPECT_GT(probes, 3);
    EXPECT_GT(loop_->turns() - begun, 10u) << "the scrape took one bite";
    scraper.close();
    prober.close();
  }
}

TEST_F(AdminServerTest, AClientThatDoesNotReadStopsTheScrape) {
  fill_store(300000);
  Client& slow = client();
  slow.request("/ready");
  run_until([&] { return slow.answers.size() == 1; });
  slow.connection->pause_reading();
  slow.request("/stats");
  const size_t before = base::block_usage().live_bytes;
  size_t highest = 0;
  for (int i = 0; i < 300; ++i) {
    loop_->turn(base::milliseconds(1));
    highest = std::max(highest, base::block_usage().live_bytes);
  }
  // Two slices and the chunk that crossed the mark; the whole would be more than 8 MB.
  EXPECT_LT(highest - before, 1u << 20);
  EXPECT_EQ(get("/ready").body, "LIVE\n");
  slow.connection->resume_reading();
  run_until([&] { return slow.answers.size() == 2; });
  EXPECT_GT(slow.answers[1].body.size(), 6u << 20);
}

TEST_F(AdminServerTest, AClientThatNeverReadsIsCut) {
  options_.write_timeout = base::milliseconds(20);
  fill_store(300000);
  Client& slow = client();
  slow.connection->pause_reading();
  slow.request("/stats");
  run_until([&] { return server_->connections() == 1; });
  run_until([&] { return server_->connections() == 0; });
  EXPECT_EQ(counter(http_stat::kDownstreamRqIdleTimeout), 1u);
}

TEST_F(AdminServerTest, ManyScrapesTakeTurns) {
  fill_store(20000);
  std::vector<Client*> scrapers;
  for (int i = 0; i < 20; ++i) {
    scrapers.push_back(&client());
    scrapers.back()->request("/stats");
  }
  run_until([&] {
    return std::all_of(scrapers.begin(), scrapers.end(), [](Client* c) { return c->answers.size() == 1; });
  });
  for (const Client* c : scrapers) EXPECT_GE(c->answers[0].body.size(), scrapers[0]->answers[0].body.size() / 2);
}

TEST_F(AdminServerTest, AStoreThatLosesBlocksDuringAScrapeIsNoTrouble) {
  fill_store(50000);
  Client& c = client();
  c.request("/stats");
  run_until([&] { return c.received > 0; });
  blocks_.clear();
  run_until([&] { return c.answers.size() == 1; });
}

TEST_F(AdminServerTest, AClientThatGoesDuringAScrapeIsForgotten) {
  fill_store(300000);
  Client& c = client();
  c.request("/stats");
  run_until([&] { return c.received > 0; });
  c.close();
  run_until([&] { return server_->connections() == 0; });
}

TEST_F(AdminServerTest, QuitIsCalledOnceTheAnswerIsOut) {
  Client& c = client();
  bool asked = false;
  context_.quit = [&] {
    asked = true;
    server_->stop();  // what a server does
  };
  c.request("/quitquitquit", "POST");
  run_until([&] { return asked; });
  run_until([&] { return c.ended || c.failed; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].body, "OK\n");
}

TEST_F(AdminServerTest, QuitIsCalledEvenIfTheClientHasGone) {
  Client& c = client();
  bool asked = false;
  context_.quit = [&] { asked = true; };
  c.request("/quitquitquit", "POST");
  run_until([&] { return c.connection->unsent() == 0; });
  net::Connection::close(std::move(c.connection), net::CloseMode::kReset);
  run_until([&] { return asked || server_->connections() == 0; });
  EXPECT_TRUE(asked);
}

TEST_F(AdminServerTest, AStoppedServerClosesItsConnectionsAndItsSocket) {
  Client& open = client();
  fill_store(300000);
  open.request("/stats");
  run_until([&] { return open.received > 0; });
  server_->stop();
  run_until([&] { return open.ended || open.failed; });
  EXPECT_EQ(server_->connections(), 0u);
  Client& late = client();
  run_until([&] { return late.failed; });
}

TEST_F(AdminServerTest, ATakenAddressIsAnError) {
  serve();
  options_.address = server_->address();
  const auto second = AdminServer::create(*loop_, options_, context_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().to_string().find(options_.address.to_string()), std::string::npos);
}

TEST_F(AdminServerTest, ServesOnAUnixSocket) {
  const std::string path = testing::TempDir() + "admin_" + std::to_string(getpid()) + ".sock";
  options_.address = *net::Address::pipe(path);
  options_.pipe_mode = 0600;
  EXPECT_EQ(get("/ready").body, "LIVE\n");
  server_.reset();
  ::unlink(path.c_str());
}

TEST_F(AdminServerTest, WritesAccessLogs) {
  const std::string path = testing::TempDir() + "admin_" + std::to_string(getpid()) + ".log";
  stream::AccessLogFiles files;
  stream::AccessLogOptions log;
  log.path = path;
  log.format = "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %BYTES_SENT% %RESPONSE_FLAGS% "
               "%RESP(CONTENT-TYPE)% %RESPONSE_CODE_DETAILS%\n";
  std::vector<stream::AccessLog> logs;
  logs.push_back(std::move(*stream::AccessLog::compile(log, &files)));
  context_.access_logs = &logs;
  context_.access_log_files = &files;
  options_.access_log_flush_interval = base::milliseconds(1);
  get("/ready?x");
  get("/hot_restart_version");
  Client& bad = client();
  bad.send("nonsense\n");
  run_until([&] { return bad.ended; });
  fill_store(300000);
  Client& gone = client();
  gone.request("/stats");
  run_until([&] { return gone.received > 0; });
  gone.close();
  run_until([&] { return server_->connections() == 0; });
  run_until([&] { return files.counts().write_buffered == 4; });
  ASSERT_TRUE(files.drain(base::seconds(10)));
  std::ifstream file(path);
  std::string lines[4];
  for (std::string& line : lines) std::getline(file, line);
  const std::string text = " text/plain; charset=UTF-8 ";
  EXPECT_EQ(lines[0], "GET /ready?x HTTP/1.1 200 5 -" + text + "admin_filter_response");
  EXPECT_EQ(lines[1], "GET /hot_restart_version HTTP/1.1 200 8 -" + text + "admin_filter_response");
  EXPECT_TRUE(lines[2].starts_with("- - - 400 12 DPE" + text)) << lines[2];
  EXPECT_TRUE(lines[3].starts_with("GET /stats HTTP/1.1 200 ")) << lines[3];
  EXPECT_TRUE(lines[3].find(" DC ") != std::string::npos) << lines[3];
  clients_.clear();
  server_.reset();
  ::unlink(path.c_str());
}

// ---- hostile input

TEST_F(AdminServerTest, RefusesWhatIsNotHttp) {
  for (const char* bytes : {"\x16\x03\x01\x02\n\n", "GET /ready\r\n\r\n", "GET /ready HTTP/1.1\r\n\r\n",
                            "GET /ready HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
                            "POST /ready HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n"
                            "transfer-encoding: chunked\r\n\r\n",
                            "GET /ready HTTP/1.1\r\nhost : a\r\n\r\n"}) {
    SCOPED_TRACE(bytes);
    Client& c = client();
    c.send(bytes);
    run_until([&] { return c.ended; });
    ASSERT_EQ(c.answers.size(), 1u);
    EXPECT_GE(c.answers[0].status, 400u);
    EXPECT_EQ(c.answers[0].headers.at("connection"), "close");
  }
  EXPECT_EQ(counter(http_stat::kDownstreamCxProtocolError), 6u);
}

TEST_F(AdminServerTest, RefusesHugeHeaders) {
  Client& c = client();
  c.send("GET /ready HTTP/1.1\r\nhost: a\r\n");
  for (int i = 0; i < 80; ++i) c.send("x-" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n");
  run_until([&] { return c.ended; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].status, 431u);
}

TEST_F(AdminServerTest, RefusesHugeBodies) {
  Client& c = client();
  c.request("/logging", "POST", "content-length: 100000000\r\n");
  c.send(std::string(200000, 'x'));
  run_until([&] { return c.ended || c.failed; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].status, 413u);
}

TEST_F(AdminServerTest, ATunnelIsNotOpened) {
  Client& c = client();
  c.send("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\nGET /ready HTTP/1.1\r\nhost: a\r\n\r\n");
  run_until([&] { return c.ended; });
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_GE(c.answers[0].status, 400u);
}

TEST_F(AdminServerTest, ARequestThatDripsIsCutOff) {
  options_.request_timeout = base::milliseconds(30);
  Client& c = client();
  const std::string request = "GET /ready HTTP/1.1\r\nhost: a\r\nx: ";
  c.send(request);
  while (!c.ended && !c.failed && !testing::Test::HasFailure()) {
    c.send("x");  // progress does not buy time
    run_until([&, turns = 0]() mutable { return ++turns > 2; });
  }
  ASSERT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(c.answers[0].status, 408u);
  EXPECT_EQ(counter(http_stat::kDownstreamRqHeaderTimeout), 1u);
}

TEST_F(AdminServerTest, AnIdleConnectionIsClosed) {
  options_.idle_timeout = base::milliseconds(20);
  Client& c = client();
  c.request("/ready");
  run_until([&] { return c.ended; });
  EXPECT_EQ(c.answers.size(), 1u);
  EXPECT_EQ(counter(http_stat::kDownstreamCxIdleTimeout), 1u);
}

TEST_F(AdminServerTest, AnIdleConnectionMakesRoomForANewOne) {
  options_.max_connections = 3;
  for (int i = 0; i < 3; ++i) client();
  run_until([&] { return server_->connections() == 3; });
  EXPECT_EQ(get("/ready").body, "LIVE\n");
  EXPECT_EQ(listener_block()->counter(stats::listener::kDownstreamCxOverflow), 0u);
}

TEST_F(AdminServerTest, ConnectionsBeyondTheLimitAreRefusedWhenAllAreBusy) {
  options_.max_connections = 3;
  for (int i = 0; i < 3; ++i) client().send("GET /rea");
  run_until([&] { return server_->connections() == 3; });
  for (int i = 0; i < 3; ++i) loop_->turn(base::milliseconds(5));
  Client& late = client();
  run_until([&] { return late.failed || late.ended; });
  EXPECT_EQ(listener_block()->counter(stats::listener::kDownstreamCxOverflow), 1u);
  clients_[0]->send("dy HTTP/1.1\r\nhost: a\r\n\r\n");
  run_until([&] { return clients_[0]->answers.size() == 1; });
  EXPECT_EQ(server_->connections(), 3u);
}

TEST_F(AdminServerTest, AFloodOfPipelinedRequestsWithoutAReaderIsHeldBack) {
  Client& flood = client();
  flood.connection->pause_reading();
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += "GET /help HTTP/1.1\r\nhost: a\r\n\r\n";
  flood.send(requests);
  const size_t before = base::block_usage().live_bytes;
  for (int i = 0; i < 3000; ++i) loop_->turn(base::nanoseconds(0));
  EXPECT_LT(base::block_usage().live_bytes, before + (2u << 20));
  EXPECT_EQ(get("/ready").body, "LIVE\n");
  flood.connection->resume_reading();
  run_until([&] { return flood.answers.size() == 2000; });
}

TEST_F(AdminServerTest, CountsWhatItServes) {
  EXPECT_EQ(get("/ready").status, 200u);
  EXPECT_EQ(get("/nonsense").status, 404u);
  run_until([&] { return server_->connections() == 0; });
  EXPECT_EQ(counter(http_stat::kDownstreamCxTotal), 2u);
  EXPECT_EQ(http_block()->gauge(http_stat::kDownstreamCxActive), 0);
  EXPECT_EQ(counter(http_stat::kDownstreamRqTotal), 2u);
  EXPECT_EQ(counter(http_stat::kDownstreamRqCompleted), 2u);
  EXPECT_EQ(counter(http_stat::kDownstreamRq2xx), 1u);
  EXPECT_EQ(counter(http_stat::kDownstreamRq4xx), 1u);
  EXPECT_GT(counter(http_stat::kDownstreamCxTxBytesTotal), 0u);
}

}  // namespace
}  // namespace millrace::admin
