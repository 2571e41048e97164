#include "stream/formatter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <ctime>

#include "base/prng.h"
#include "net/address.h"
#include "support/known_facts.h"

namespace millrace::stream {
namespace {

using base::MonotonicTime;
using base::SystemTime;

MonotonicTime at_us(int64_t us) { return MonotonicTime(base::microseconds(us)); }
net::Address ip(std::string_view text, uint16_t port) { return net::Address::parse_ip(text, port).value(); }

// An exchange of which every fact is known; tests change what they are about.
class FormatterTest : public testing::Test {
 protected:
  FormatterTest() {
    connection_.id = 42;
    connection_.remote_address = &peer_;
    connection_.local_address = &local_;
    connection_.start = at_us(500'000);
    connection_.handshake_end = at_us(507'000);
    connection_.filter_chain_name = "chain-a";
    upstream_.id = 77;
    upstream_.local_address = &upstream_local_;
    upstream_.remote_address = &host_;
    // 2016-04-15T20:17:00.310123456Z
    info_.start_time =
        SystemTime(std::chrono::duration_cast<SystemTime::duration>(base::nanoseconds(1460751420310123456)));
    info_.start = at_us(1'000'000);
    info_.request_end = at_us(1'003'000);
    info_.end = at_us(1'226'900);
    info_.last_downstream_tx = at_us(1'225'000);
    info_.first_downstream_tx = at_us(1'221'000);
    info_.upstream.first_tx = at_us(1'004'000);
    info_.upstream.last_tx = at_us(1'005'000);
    info_.upstream.first_rx = at_us(1'105'500);
    info_.upstream.last_rx = at_us(1'205'000);
    info_.upstream.pool_ready = at_us(1'001'000);
    info_.upstream.connect_start = at_us(1'000'100);
    info_.upstream.connect_end = at_us(1'000'900);
    info_.upstream.host_address = &host_;
    info_.upstream.cluster_name = "locations";
    info_.upstream.connection = &upstream_;
    info_.upstream.attempt_count = 2;
    info_.upstream.protocol = Protocol::kHttp10;
    info_.upstream.bytes = {1001, 1002, 1003, 1004};
    info_.downstream_bytes = {2001, 2002, 2003, 2004};
    info_.protocol = Protocol::kHttp11;
    info_.response_code = 204;
    info_.bytes_received = 154;
    info_.bytes_sent = 17;
    info_.connection = &connection_;
    request_.add(http::Header::kMethod, "POST");
    request_.add(http::Header::kPath, "/api/v1/locations?x=1&name=a%20b&empty=");
    request_.add(http::Header::kAuthority, "locations");
    request_.add(http::Header::kForwardedFor, "10.0.35.28");
    request_.add(http::Header::kUserAgent, "nsq2http");
    request_.add(http::Header::kRequestId, "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2");
    request_.add("x-custom", "first");
    request_.add("x-custom", "second");
    request_.add("x-empty", "");
    response_.add(http::Header::kEnvoyUpstreamServiceTime, "100");
    trailers_.add("x-checksum", "ab12");
  }

  FormatContext context() {
    return {.info = &info_, .request_headers = &request_, .response_headers = &response_,
            .response_trailers = &trailers_, .local_reply_body = "no healthy upstream",
            .log_type = AccessLogType::kDownstreamEnd, .now = at_us(2'000'000), .system_now = info_.start_time};
  }
  std::string format(std::string_view text, FormatOptions options = {}) {
    base::Result<Formatter> formatter = Formatter::compile(text, options);
    if (!formatter.ok()) return "error: " + formatter.error().what;
    std::string out;
    formatter->append(context(), out);
    return out;
  }

  net::Address peer_ = ip("10.1.10.23", 5000);
  net::Address local_ = ip("192.168.1.2", 10000);
  net::Address host_ = ip("10.0.2.1", 80);
  net::Address upstream_local_ = ip("10.0.0.9", 41000);
  ConnectionInfo connection_;
  ConnectionInfo upstream_;
  StreamInfo info_;
  http::HeaderMap request_, response_, trailers_;
};

std::string compile_error(std::string_view text) {
  base::Result<Formatter> formatter = Formatter::compile(text);
  return formatter.ok() ? "compiled" : formatter.error().what;
}

TEST_F(FormatterTest, WritesEnvoysDefaultLine) {
  EXPECT_EQ(format(kDefaultAccessLogFormat),
            "[2016-04-15T20:17:00.310Z] \"POST /api/v1/locations?x=1&name=a%20b&empty= HTTP/1.1\" 204 - 154 17 226 100 "
            "\"10.0.35.28\" \"nsq2http\" \"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2\" \"locations\" \"10.0.2.1:80\"\n");
}

TEST_F(FormatterTest, WritesDashesForAConnectionThatNeverSpoke) {
  info_.reset();
  info_.start_time = SystemTime(base::seconds(0) + base::milliseconds(5));
  request_.clear();
  response_.clear();
  EXPECT_EQ(format(kDefaultAccessLogFormat),
            "[1970-01-01T00:00:00.005Z] \"- - -\" 0 - 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

TEST_F(FormatterTest, ReadsNullHeaderMapsAsEmpty) {
  base::Result<Formatter> formatter = Formatter::compile("%REQ(A?B)% %RESP(A)% %TRAILER(A)% %PATH% %QUERY_PARAM(a)% "
                                                         "%GRPC_STATUS% %REQUEST_HEADERS_BYTES%");
  std::string out;
  const FormatContext bare{.info = &info_};
  formatter->append(bare, out);
  EXPECT_EQ(out, "- - - - - - 0");
}

TEST_F(FormatterTest, CopiesPlainTextAndPercentSigns) {
  EXPECT_EQ(format("100%% of %PROTOCOL%%%"), "100% of HTTP/1.1%");
  EXPECT_EQ(format(""), "");
}

TEST_F(FormatterTest, KnowsAConstant) {
  const Formatter constant = Formatter::compile("a 100%% b").value();
  EXPECT_TRUE(constant.is_constant());
  EXPECT_EQ(constant.constant_text(), "a 100% b");
  EXPECT_TRUE(Formatter::compile("")->is_constant());
  EXPECT_FALSE(Formatter::compile("%PROTOCOL%")->is_constant());
  EXPECT_FALSE(Formatter::compile("a%PROTOCOL%")->is_constant());
}

TEST_F(FormatterTest, LooksHeadersUpInAnyCase) {
  EXPECT_EQ(format("%REQ(User-Agent)%"), "nsq2http");
  EXPECT_EQ(format("%REQUEST_HEADER(X-CUSTOM)%"), "first");
  EXPECT_EQ(format("%RESP(x-envoy-upstream-service-time)% %RESPONSE_HEADER(absent)%"), "100 -");
  EXPECT_EQ(format("%TRAILER(X-Checksum)% %RESPONSE_TRAILER(X-Checksum)%"), "ab12 ab12");
}

TEST_F(FormatterTest, FallsBackToTheAlternativeHeader) {
  EXPECT_EQ(format("%REQ(X-ABSENT?USER-AGENT)%"), "nsq2http");
  EXPECT_EQ(format("%REQ(X-ABSENT?X-CUSTOM)%"), "first");
  EXPECT_EQ(format("%REQ(X-CUSTOM?USER-AGENT)%"), "first");
  EXPECT_EQ(format("%REQ(X-ABSENT?X-GONE)%"), "-");
  EXPECT_EQ(format("%REQ(X-ABSENT?)%"), "-");
}

TEST_F(FormatterTest, AnEmptyHeaderIsAValue) { EXPECT_EQ(format("[%REQ(X-EMPTY?USER-AGENT)%]"), "[]"); }

TEST_F(FormatterTest, HostIsTheAuthority) { EXPECT_EQ(format("%REQ(Host)%"), "locations"); }

TEST_F(FormatterTest, TruncatesToTheLengthGiven) {
  EXPECT_EQ(format("%REQ(USER-AGENT):3%|%REQ(USER-AGENT):0%|%REQ(USER-AGENT):99%"), "nsq||nsq2http");
  EXPECT_EQ(format("%PATH(NQ):4%"), "/api");
  EXPECT_EQ(format("%REQ(ABSENT):0%"), "-");
}

TEST_F(FormatterTest, WritesTheEmptyValueItWasGiven) {
  EXPECT_EQ(format("[%REQ(ABSENT)%]", {.empty_value = ""}), "[]");
}

TEST_F(FormatterTest, WritesTimesInEveryForm) {
  EXPECT_EQ(format("%START_TIME%"), "2016-04-15T20:17:00.310Z");
  EXPECT_EQ(format("%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%"), "2016/04/15T20:17:00+0000 1460751420");
  EXPECT_EQ(format("%START_TIME(%s.%3f)% %START_TIME(%s.%6f)% %START_TIME(%s.%9f)%"),
            "1460751420.310 1460751420.310123 1460751420.310123456");
  EXPECT_EQ(format("%START_TIME(%f)% %START_TIME(%1f)%"), "310123456 3");
  EXPECT_EQ(format("%START_TIME(%H:%M:%E3S %E*f %E*S %E0S %Ez)%"), "20:17:00.310 310123456 00.310123456 00 +00:00");
  EXPECT_EQ(format("%START_TIME(%a %b %e %j %%)%"), "Fri Apr 15 106 %");
  EXPECT_EQ(format("%EMIT_TIME(%F %T)%"), "2016-04-15 20:17:00");
}

TEST_F(FormatterTest, WritesTimesBefore1970AndOnLeapDays) {
  info_.start_time = SystemTime(base::milliseconds(-1));
  EXPECT_EQ(format("%START_TIME% %START_TIME(%s)%"), "1969-12-31T23:59:59.999Z -1");
  info_.start_time = SystemTime(base::seconds(1709164800));
  EXPECT_EQ(format("%START_TIME% %START_TIME(%j %u)%"), "2024-02-29T00:00:00.000Z 060 4");
}

TEST_F(FormatterTest, WritesLocalTime) {
  const char* before = ::getenv("TZ");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("TZ", "XYZ-05:30", 1);
  ::tzset();
  info_.start_time += base::seconds(1);  // not the second that another test left in the cache
  EXPECT_EQ(format("%START_TIME_LOCAL%"), "2016-04-16T01:47:01.310+0530");
  EXPECT_EQ(format("%START_TIME_LOCAL(%H:%M %Ez)% %EMIT_TIME_LOCAL(%H)%"), "01:47 +05:30 01");
  if (before != nullptr) ::setenv("TZ", saved.c_str(), 1); else ::unsetenv("TZ");
  ::tzset();
}

TEST_F(FormatterTest, WritesDurationsInMilliseconds) {
  EXPECT_EQ(format("%DURATION% %REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%"),
            "226 3 5 105 119");
  EXPECT_EQ(format("%DOWNSTREAM_HANDSHAKE_DURATION% %UPSTREAM_CONNECTION_POOL_READY_DURATION% %ROUNDTRIP_DURATION%"),
            "7 1 -");
}

TEST_F(FormatterTest, DurationOfARunningStreamEndsNow) {
  info_.end = {};
  EXPECT_EQ(format("%DURATION%"), "1000");
}

TEST_F(FormatterTest, DurationsOfWhatNeverHappenedAreMissing) {
  info_.upstream = {};
  EXPECT_EQ(format("%REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%"), "- - -");
  EXPECT_EQ(format("%UPSTREAM_CONNECTION_POOL_READY_DURATION% %COMMON_DURATION(DS_RX_BEG:US_TX_END:us)%"), "- -");
}

TEST_F(FormatterTest, WritesAnyDurationInAnyPrecision) {
  EXPECT_EQ(format("%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%"), "225");
  EXPECT_EQ(format("%COMMON_DURATION(US_CX_BEG:US_CX_END:us)%"), "800");
  EXPECT_EQ(format("%COMMON_DURATION(US_CX_BEG:US_CX_END:ns)%"), "800000");
  EXPECT_EQ(format("%COMMON_DURATION(DS_CX_BEG:DS_CX_END:ms)%"), "726");
  EXPECT_EQ(format("%COMMON_DURATION(US_RX_END:US_TX_BEG:ms)%"), "-") << "ends before it starts";
}

TEST_F(FormatterTest, CountsBytes) {
  EXPECT_EQ(format("%BYTES_RECEIVED% %BYTES_SENT% %BYTES_RETRANSMITTED% %PACKETS_RETRANSMITTED%"), "154 17 0 0");
  EXPECT_EQ(format("%UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_HEADER_BYTES_SENT% "
                   "%UPSTREAM_HEADER_BYTES_RECEIVED%"),
            "1001 1002 1003 1004");
  EXPECT_EQ(format("%DOWNSTREAM_WIRE_BYTES_SENT% %DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_SENT% "
                   "%DOWNSTREAM_HEADER_BYTES_RECEIVED%"),
            "2001 2002 2003 2004");
  EXPECT_EQ(format("%UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT% %UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED% "
                   "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT% %DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%"),
            "1003 1004 2003 2004");
  EXPECT_EQ(format("%RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%"),
            std::to_string(response_.byte_size()) + " " + std::to_string(trailers_.byte_size()));
  EXPECT_EQ(format("%REQUEST_HEADERS_BYTES%"), std::to_string(request_.byte_size()));
}

TEST_F(FormatterTest, WritesCodesFlagsAndDetails) {
  info_.flags = {ResponseFlag::kUpstreamConnectionFailure, ResponseFlag::kUpstreamRetryLimitExceeded};
  info_.response_code_details = "upstream_reset{connection refused}";
  info_.connection_termination_details = "idle timeout";
  info_.upstream.transport_failure_reason = "TLS error: bad";
  EXPECT_EQ(format("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%"),
            "204 UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
  EXPECT_EQ(format("%RESPONSE_CODE_DETAILS%|%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%"),
            "upstream_reset{connection_refused}|upstream_reset{connection refused}");
  EXPECT_EQ(format("%CONNECTION_TERMINATION_DETAILS%|%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
            "idle timeout|TLS_error:_bad");
}

TEST_F(FormatterTest, WritesNamesAndIds) {
  info_.route_name = "r1";
  info_.virtual_cluster_name = "vc";
  info_.request_id = "rid";
  info_.trace_id = "tid";
  info_.custom_flags = "f1,f2";
  connection_.transport_failure_reason = "no cert";
  EXPECT_EQ(format("%ROUTE_NAME% %VIRTUAL_CLUSTER_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW% %FILTER_CHAIN_NAME%"),
            "r1 vc locations locations chain-a");
  info_.upstream.cluster_alt_stat_name = "alt";
  EXPECT_EQ(format("%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%"), "alt locations");
  EXPECT_EQ(format("%CONNECTION_ID% %UPSTREAM_CONNECTION_ID% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"), "42 77 2");
  EXPECT_EQ(format("%STREAM_ID% %TRACE_ID% %SPAN_ID% %CUSTOM_FLAGS%"), "rid tid - f1,f2");
  EXPECT_EQ(format("%PROTOCOL% %UPSTREAM_PROTOCOL% %ACCESS_LOG_TYPE%"), "HTTP/1.1 HTTP/1.0 DownstreamEnd");
  EXPECT_EQ(format("%LOCAL_REPLY_BODY%|%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"), "no healthy upstream|no_cert");
}

TEST_F(FormatterTest, NamesWithoutAValueAreMissing) {
  info_.reset();
  EXPECT_EQ(format("%ROUTE_NAME% %VIRTUAL_CLUSTER_NAME% %UPSTREAM_CLUSTER% %STREAM_ID% %FILTER_CHAIN_NAME%"),
            "- - - - -");
  EXPECT_EQ(format("%CONNECTION_ID% %UPSTREAM_CONNECTION_ID% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"), "0 0 0");
  EXPECT_EQ(format("%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %DOWNSTREAM_REMOTE_ADDRESS%"), "- - -");
}

TEST_F(FormatterTest, WritesAddressesInEveryForm) {
  EXPECT_EQ(format("%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
                   "%UPSTREAM_REMOTE_PORT%"),
            "10.0.2.1:80 10.0.2.1:80 10.0.2.1 80");
  EXPECT_EQ(format("%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%"),
            "10.0.0.9:41000 10.0.0.9 41000");
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%"),
            "10.1.10.23:5000 10.1.10.23 5000");
  EXPECT_EQ(format("%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%"),
            "192.168.1.2:10000 192.168.1.2 10000");
}

TEST_F(FormatterTest, DirectAddressesAreThoseOfTheSocket) {
  const net::Address proxied = ip("203.0.113.9", 1234);
  info_.trusted_remote_address = &proxied;
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"),
            "203.0.113.9:1234 10.1.10.23:5000");
  const net::Address socket_peer = ip("127.0.0.1", 1);
  const net::Address socket_local = ip("127.0.0.2", 2);
  connection_.direct_remote_address = &socket_peer;
  connection_.direct_local_address = &socket_local;
  EXPECT_EQ(format("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% "
                   "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
            "127.0.0.1:1 127.0.0.1 1");
  EXPECT_EQ(format("%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT% "
                   "%DOWNSTREAM_DIRECT_LOCAL_PORT%"),
            "127.0.0.2:2 127.0.0.2 2");
}

TEST_F(FormatterTest, MasksAddresses) {
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)% "
                   "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(32)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(29)%"),
            "10.1.0.0/16 0.0.0.0/0 10.1.10.23/32 10.1.10.16/29");
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(64)%"), "-") << "more bits than IPv4 has";
  peer_ = ip("2001:db8:1234:5678:9abc:def0:1234:5678", 443);
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(64)%"),
            "[2001:db8:1234:5678:9abc:def0:1234:5678]:443 2001:db8:1234:5678::/64");
}

TEST_F(FormatterTest, WritesUnixSockets) {
  peer_ = net::Address::pipe("/run/x.sock").value();
  EXPECT_EQ(format("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)% %DOWNSTREAM_REMOTE_PORT%"),
            "/run/x.sock /run/x.sock -");
}

TEST_F(FormatterTest, UpstreamHostNameFallsBackToTheAddress) {
  EXPECT_EQ(format("%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%"), "10.0.2.1:80 10.0.2.1");
  info_.upstream.host_name = "svc.example:8080";
  EXPECT_EQ(format("%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%"), "svc.example:8080 svc.example");
  info_.upstream.host_name = "::1";
  EXPECT_EQ(format("%UPSTREAM_HOST_NAME_WITHOUT_PORT%"), "::1");
  info_.upstream.host_name = "[::1]:80";
  EXPECT_EQ(format("%UPSTREAM_HOST_NAME_WITHOUT_PORT%"), "[::1]");
}

TEST_F(FormatterTest, WritesPathAndQuery) {
  EXPECT_EQ(format("%PATH% %PATH(NQ)%"), "/api/v1/locations?x=1&name=a%20b&empty= /api/v1/locations");
  request_.set(http::Header::kEnvoyOriginalPath, "/before?q");
  EXPECT_EQ(format("%PATH(NQ)% %PATH(NQ:PATH)% %PATH(WQ:ORIG)%"), "/before /api/v1/locations /before?q");
  EXPECT_EQ(format("%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%"), "/before");
  EXPECT_EQ(format("%QUERY_PARAM(x)% [%QUERY_PARAM(name)%] [%QUERY_PARAM(empty)%] %QUERY_PARAM(gone)%"),
            "1 [a b] [] -");
  EXPECT_EQ(format("%QUERY_PARAMS%|%QUERY_PARAMS(DECODED)%"), "x=1&name=a%20b&empty=|x=1&name=a b&empty=");
}

TEST_F(FormatterTest, NeverDecodesALineEndOutOfAQuery) {
  request_.set(http::Header::kPath, "/?a=1%0d%0aSet-Cookie:%20x%&b=%4");
  EXPECT_EQ(format("%QUERY_PARAM(a)% %QUERY_PARAM(b)%"), "1%0d%0aSet-Cookie: x% %4");
}

TEST_F(FormatterTest, ServerNameMayFallBackToTheHost) {
  EXPECT_EQ(format("%REQUESTED_SERVER_NAME% %REQUESTED_SERVER_NAME(SNI_FIRST)%"), "- locations");
  connection_.requested_server_name = "sni.example";
  EXPECT_EQ(format("%REQUESTED_SERVER_NAME% %REQUESTED_SERVER_NAME(SNI_FIRST)% %REQUESTED_SERVER_NAME(HOST_FIRST)%"),
            "sni.example sni.example locations");
  request_.set(http::Header::kEnvoyOriginalHost, "orig");
  EXPECT_EQ(format("%REQUESTED_SERVER_NAME(HOST_FIRST)% %REQUESTED_SERVER_NAME(HOST_FIRST:HOST)% "
                   "%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%"),
            "orig locations orig");
}

TEST_F(FormatterTest, WritesGrpcStatus) {
  EXPECT_EQ(format("%GRPC_STATUS% %GRPC_STATUS_NUMBER%"), "- -") << "no gRPC request";
  request_.set(http::Header::kContentType, "application/grpc+proto");
  trailers_.set(http::Header::kGrpcStatus, "3");
  EXPECT_EQ(format("%GRPC_STATUS% %GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% "
                   "%GRPC_STATUS_NUMBER%"),
            "InvalidArgument InvalidArgument INVALID_ARGUMENT 3 3");
  trailers_.set(http::Header::kGrpcStatus, "99");
  EXPECT_EQ(format("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)%"), "99 99");
  trailers_.set(http::Header::kGrpcStatus, "x");
  EXPECT_EQ(format("%GRPC_STATUS%"), "-1");
  trailers_.remove(http::Header::kGrpcStatus);
  response_.set(http::Header::kGrpcStatus, "0");
  EXPECT_EQ(format("%GRPC_STATUS%"), "OK");
  response_.remove(http::Header::kGrpcStatus);
  info_.response_code = 503;
  EXPECT_EQ(format("%GRPC_STATUS%"), "Unavailable");
}

TEST_F(FormatterTest, TlsFactsAreMissingOnAPlaintextConnection) {
  EXPECT_EQ(format("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT% %UPSTREAM_PEER_CERT_V_END% "
                   "%TLS_JA3_FINGERPRINT% %UPSTREAM_SERVER_NAME%"),
            "- - - - -");
}

TEST_F(FormatterTest, WritesTlsFacts) {
  const auto tls = std::make_shared<test::KnownFacts>();
  tls->peer.subject = "CN=client";
  tls->peer.uri_sans = {"spiffe://a", "spiffe://b"};
  tls->peer.valid_until = SystemTime(base::seconds(1709164800));
  tls->local.dns_sans = {"front.example"};
  connection_.tls = tls;
  upstream_.tls = tls;
  upstream_.requested_server_name = "back.example";
  EXPECT_EQ(format("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_SUBJECT% "
                   "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_DNS_SAN% %DOWNSTREAM_PEER_ISSUER%"),
            "TLSv1.3 TLS_AES_128_GCM_SHA256 CN=client spiffe://a,spiffe://b front.example -");
  EXPECT_EQ(format("%DOWNSTREAM_PEER_CERT_V_END(%F)% %DOWNSTREAM_PEER_CERT_V_START% %UPSTREAM_PEER_SUBJECT% "
                   "%UPSTREAM_SERVER_NAME%"),
            "2024-02-29 - CN=client back.example");
  connection_.ja3 = "aaa";
  EXPECT_EQ(format("%TLS_JA3_FINGERPRINT% %TLS_JA4_FINGERPRINT% %UPSTREAM_TLS_SESSION_ID% %DOWNSTREAM_PEER_CERT%"),
            "aaa - 0a0b -----BEGIN%20");
}

TEST_F(FormatterTest, WritesWhatTheProcessKnows) {
  ::setenv("MILLRACE_FORMATTER_TEST", "value", 1);
  char host[HOST_NAME_MAX + 1] = {};
  ASSERT_EQ(::gethostname(host, sizeof host - 1), 0);
  EXPECT_EQ(format("%HOSTNAME%"), host);
  EXPECT_EQ(format("%ENVIRONMENT(MILLRACE_FORMATTER_TEST)% %ENVIRONMENT(MILLRACE_FORMATTER_TEST):2% "
                   "%ENVIRONMENT(MILLRACE_NO_SUCH_VARIABLE)%"),
            "value va -");
}

TEST_F(FormatterTest, UniqueIdsAreVersion4UuidsAndDiffer) {
  const std::string a = format("%UNIQUE_ID%");
  EXPECT_NE(a, format("%UNIQUE_ID%"));
  ASSERT_EQ(a.size(), 36u);
  EXPECT_EQ(a[14], '4');
  EXPECT_NE(std::string("89ab").find(a[19]), std::string::npos);
  for (const size_t dash : {8, 13, 18, 23}) EXPECT_EQ(a[dash], '-') << a;
}

TEST_F(FormatterTest, EndpointIdsDoNotExistHere) {
  EXPECT_EQ(format("%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%"
                   "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID%"),
            "---");
}

// The list of Envoy's documentation: each is either done or refused by name.
TEST_F(FormatterTest, EveryOperatorOfEnvoyIsDoneOrRefusedByName) {
  constexpr std::string_view kDone =
      "START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL REQUEST_HEADERS_BYTES BYTES_RECEIVED BYTES_RETRANSMITTED "
      "PACKETS_RETRANSMITTED PROTOCOL UPSTREAM_PROTOCOL RESPONSE_CODE RESPONSE_CODE_DETAILS "
      "CONNECTION_TERMINATION_DETAILS RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES BYTES_SENT "
      "UPSTREAM_REQUEST_ATTEMPT_COUNT DURATION COMMON_DURATION(DS_RX_BEG:DS_TX_END) REQUEST_DURATION "
      "REQUEST_TX_DURATION RESPONSE_DURATION ROUNDTRIP_DURATION RESPONSE_TX_DURATION DOWNSTREAM_HANDSHAKE_DURATION "
      "UPSTREAM_CONNECTION_POOL_READY_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG ROUTE_NAME VIRTUAL_CLUSTER_NAME "
      "UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW "
      "UPSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_TRANSPORT_FAILURE_REASON CONNECTION_ID UPSTREAM_CONNECTION_ID "
      "STREAM_ID GRPC_STATUS GRPC_STATUS_NUMBER REQ(X) RESP(X) TRAILER(X) REQUEST_HEADER(X) RESPONSE_HEADER(X) "
      "RESPONSE_TRAILER(X) REQUESTED_SERVER_NAME HOSTNAME LOCAL_REPLY_BODY FILTER_CHAIN_NAME ACCESS_LOG_TYPE UNIQUE_ID "
      "ENVIRONMENT(X) TRACE_ID SPAN_ID QUERY_PARAM(X) QUERY_PARAMS PATH CUSTOM_FLAGS REQ_WITHOUT_QUERY(X) "
      "UPSTREAM_SERVER_NAME TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT";
  constexpr std::string_view kAddresses = "UPSTREAM_LOCAL UPSTREAM_REMOTE DOWNSTREAM_LOCAL DOWNSTREAM_REMOTE "
                                          "DOWNSTREAM_DIRECT_LOCAL DOWNSTREAM_DIRECT_REMOTE";
  constexpr std::string_view kTls =
      "DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_EMAIL_SAN "
      "DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_IP_SAN "
      "DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_PEER_SUBJECT "
      "DOWNSTREAM_PEER_ISSUER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP "
      "DOWNSTREAM_TLS_VERSION DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_SERIAL "
      "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_SERIALS "
      "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_CERT "
      "DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_ISSUER "
      "UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_VERSION UPSTREAM_PEER_CERT "
      "UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_URI_SAN UPSTREAM_PEER_DNS_SAN "
      "UPSTREAM_PEER_IP_SAN UPSTREAM_LOCAL_URI_SAN UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN";
  constexpr std::string_view kRefused =
      "DYNAMIC_METADATA(a) CLUSTER_METADATA(a) UPSTREAM_METADATA(a) METADATA(ROUTE:a) FILTER_STATE(a) "
      "UPSTREAM_FILTER_STATE(a) COALESCE(a) CEL(a) TYPED_CEL(a) FILE_CONTENT(a) SECRET(a) UPSTREAM_HOSTS_ATTEMPTED "
      "UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_CONNECTION_IDS_ATTEMPTED DOWNSTREAM_DETECTED_CLOSE_TYPE "
      "UPSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_CLOSE_REASON";
  const auto for_each_word = [](std::string_view words, auto&& f) {
    while (!words.empty()) {
      const size_t end = std::min(words.find(' '), words.size());
      f(std::string(words.substr(0, end)));
      words.remove_prefix(std::min(end + 1, words.size()));
    }
  };
  const auto compiles = [](const std::string& name) {
    const base::Result<Formatter> formatter = Formatter::compile("%" + name + "%");
    EXPECT_TRUE(formatter.ok()) << formatter.error().what;
  };
  for_each_word(kDone, compiles);
  for_each_word(kAddresses, [&](const std::string& name) {
    compiles(name + "_ADDRESS");
    compiles(name + "_ADDRESS_WITHOUT_PORT");
    compiles(name + "_PORT");
  });
  for_each_word(kTls, [&](const std::string& name) { EXPECT_EQ(format("%" + name + "%"), "-") << name; });
  for_each_word(kRefused, [&](const std::string& name) {
    const base::Result<Formatter> formatter = Formatter::compile("%" + name + "%");
    ASSERT_FALSE(formatter.ok()) << name;
    EXPECT_EQ(formatter.error().code, base::ErrorCode::kUnsupported) << name;
  });
}

TEST(FormatterErrors, NameTheOperatorAndItsPosition) {
  EXPECT_EQ(compile_error("ab %UPSTREAM_HOTS%"),
            "%UPSTREAM_HOTS% at position 3: unknown operator, did you mean UPSTREAM_HOST?");
  EXPECT_EQ(compile_error("%start_time%"), "%start_time% at position 0: unknown operator, did you mean START_TIME?");
  EXPECT_EQ(compile_error("%COMPLETELY_ELSE%"), "%COMPLETELY_ELSE% at position 0: unknown operator");
}

TEST(FormatterErrors, SayWhatEnvoyHasAndMillraceDoesNot) {
  const base::Result<Formatter> formatter = Formatter::compile("%DYNAMIC_METADATA(envoy.lua:x)%");
  ASSERT_FALSE(formatter.ok());
  EXPECT_EQ(formatter.error().code, base::ErrorCode::kUnsupported);
  EXPECT_EQ(formatter.error().what,
            "%DYNAMIC_METADATA% at position 0: known to Envoy, not supported by Millrace yet");
}

TEST(FormatterErrors, RefuseMalformedOperators) {
  EXPECT_EQ(compile_error("50% off"),
            "no operator follows the % at position 2; a percent sign is written %%");
  EXPECT_EQ(compile_error("%"), "no operator follows the % at position 0; a percent sign is written %%");
  EXPECT_EQ(compile_error("%PROTOCOL"), "%PROTOCOL% at position 0: its closing % is missing");
  EXPECT_EQ(compile_error("%REQ(X%"), "%REQ% at position 0: its \")\" is missing");
  EXPECT_EQ(compile_error("%REQ(X)"), "%REQ% at position 0: its closing % is missing");
  EXPECT_EQ(compile_error("%REQ(X):%"), "%REQ% at position 0: a number must follow its \":\"");
  EXPECT_EQ(compile_error("%REQ(X):-1%"), "%REQ% at position 0: a number must follow its \":\"");
  EXPECT_EQ(compile_error("%REQ(X):99999999999999999999999%"), "%REQ% at position 0: a number must follow its \":\"");
  EXPECT_EQ(compile_error("%REQ(X):5x%"), "%REQ% at position 0: its closing % is missing");
}

TEST(FormatterErrors, RefuseWrongArguments) {
  EXPECT_EQ(compile_error("%REQ%"), "%REQ% at position 0: needs an argument");
  EXPECT_EQ(compile_error("%REQ()%"), "%REQ% at position 0: needs an argument");
  EXPECT_EQ(compile_error("%PROTOCOL(x)%"), "%PROTOCOL% at position 0: takes no argument");
  EXPECT_EQ(compile_error("%PROTOCOL:3%"), "%PROTOCOL% at position 0: takes no length");
  EXPECT_EQ(compile_error("%REQ(a?b?c)%"), "%REQ% at position 0: has more than one alternative header");
  EXPECT_EQ(compile_error("%REQ(a b)%"), "%REQ% at position 0: \"a b\" is no header name");
  EXPECT_EQ(compile_error("%REQ(?b)%"), "%REQ% at position 0: \"\" is no header name");
  EXPECT_EQ(compile_error("%GRPC_STATUS(X)%"),
            "%GRPC_STATUS% at position 0: \"X\" must be CAMEL_STRING, SNAKE_STRING or NUMBER");
  for (const char* text : {"%REQ(a\nb)%", "%RESPONSE_CODE_DETAILS(X)%", "%PATH(XQ)%", "%PATH(NQ:X)%",
                           "%QUERY_PARAMS(X)%", "%REQUESTED_SERVER_NAME(X)%", "%REQUESTED_SERVER_NAME(SNI_FIRST:X)%",
                           "%COMMON_DURATION(DS_RX_BEG)%", "%COMMON_DURATION(DS_RX_BEG:NOPE)%",
                           "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:s)%", "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms:x)%",
                           "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(129)%",
                           "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%"}) {
    EXPECT_NE(compile_error(text), "compiled") << text;
  }
}

TEST(FormatterErrors, RefuseBadTimeFormats) {
  EXPECT_EQ(compile_error("%START_TIME(%Y%n)%"),
            "%START_TIME% at position 0: time conversion \"%n\" would put a line end into the text");
  EXPECT_EQ(compile_error("%START_TIME(%Q)%"), "%START_TIME% at position 0: time conversion \"%Q\" is not known");
  for (const char* text : {"%START_TIME(%)%", "%START_TIME(%3)%", "%START_TIME(%10f)%", "%START_TIME(%E3x)%",
                           "%START_TIME(%_^n)%", "%START_TIME(a\nb)%", "%EMIT_TIME(%5Y)%"}) {
    EXPECT_NE(compile_error(text), "compiled") << text;
  }
}

// Random text built of what the grammar is made of: compiles or explains itself, and what compiles can be run.
TEST_F(FormatterTest, SurvivesRandomFormats) {
  constexpr std::string_view kPieces[] = {"%", "%%", "(", ")", ":", "?", "REQ", "RESP", "START_TIME", "PROTOCOL",
                                          "COMMON_DURATION", "DS_RX_BEG", ":path", "x", "3", "%s", "%3f", "%E", "\n",
                                          "GRPC_STATUS", "99999999999", "é", "DURATION%", "%REQ(", ")%", "_", "PATH",
                                          "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(", "%UNIQUE_ID%"};
  base::Prng prng(20240229);
  size_t compiled = 0;
  std::string out;
  for (int round = 0; round < 8'000; ++round) {
    std::string text;
    for (uint64_t n = prng.below(12); n-- > 0;) {
      if (prng.below(8) == 0) {
        text += static_cast<char>(prng.below(256));
      } else {
        text += kPieces[prng.below(std::size(kPieces))];
      }
    }
    base::Result<Formatter> formatter = Formatter::compile(text);
    if (!formatter.ok()) {
      EXPECT_FALSE(formatter.error().what.empty());
      continue;
    }
    ++compiled;
    out.clear();
    formatter->append(context(), out);
  }
  EXPECT_GT(compiled, 500u);
}

}  // namespace
}  // namespace millrace::stream
