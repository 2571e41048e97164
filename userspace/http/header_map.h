// The headers of one message, in order of arrival, names in lower case (RFC 9113 section 8.2.1; HTTP/1 names are
// folded by the codec). Pseudo headers (:method, :path, :authority, :scheme, :status, :protocol) are entries like
// others and stand first on the wire; an HTTP/1 Host arrives as :authority. Names and values are views: into
// receive blocks the map holds a reference to, or into its own arena. Well-known names carry an id, resolved once,
// so that get(Header::kHost) is an array access. Owned by one stream, used on its worker, kept and cleared for the
// next stream. Values carry no CR, LF or NUL: the codec refuses them, set() and add() of bytes from elsewhere must
// check (valid_value()).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/buffer.h"

namespace millrace::http {

// X(enumerator, wire name)
#define MILLRACE_HTTP_HEADERS(X)                                                                     \
  X(kMethod, ":method") X(kPath, ":path") X(kAuthority, ":authority") X(kScheme, ":scheme")          \
  X(kStatus, ":status") X(kProtocol, ":protocol") X(kHost, "host") X(kConnection, "connection")      \
  X(kContentLength, "content-length") X(kTransferEncoding, "transfer-encoding") X(kTe, "te")         \
  X(kTrailer, "trailer") X(kUpgrade, "upgrade") X(kExpect, "expect") X(kKeepAlive, "keep-alive")     \
  X(kProxyConnection, "proxy-connection") X(kHttp2Settings, "http2-settings") X(kDate, "date")       \
  X(kServer, "server") X(kVia, "via") X(kUserAgent, "user-agent") X(kCookie, "cookie")               \
  X(kSetCookie, "set-cookie") X(kLocation, "location") X(kContentType, "content-type")               \
  X(kContentEncoding, "content-encoding") X(kAcceptEncoding, "accept-encoding") X(kReferer, "referer") \
  X(kForwardedFor, "x-forwarded-for") X(kForwardedProto, "x-forwarded-proto")                        \
  X(kForwardedHost, "x-forwarded-host") X(kForwardedPort, "x-forwarded-port")                        \
  X(kRequestId, "x-request-id") X(kClientTraceId, "x-client-trace-id")                               \
  X(kEnvoyInternal, "x-envoy-internal") X(kEnvoyExternalAddress, "x-envoy-external-address")         \
  X(kEnvoyOriginalPath, "x-envoy-original-path") X(kEnvoyOriginalHost, "x-envoy-original-host")      \
  X(kEnvoyUpstreamServiceTime, "x-envoy-upstream-service-time")                                      \
  X(kEnvoyExpectedRequestTimeout, "x-envoy-expected-rq-timeout-ms")                                  \
  X(kEnvoyUpstreamRequestTimeout, "x-envoy-upstream-rq-timeout-ms")                                  \
  X(kEnvoyUpstreamRequestPerTryTimeout, "x-envoy-upstream-rq-per-try-timeout-ms")                    \
  X(kEnvoyUpstreamAltStatName, "x-envoy-upstream-alt-stat-name")                                     \
  X(kEnvoyRetryOn, "x-envoy-retry-on") X(kEnvoyRetryGrpcOn, "x-envoy-retry-grpc-on")                 \
  X(kEnvoyMaxRetries, "x-envoy-max-retries") X(kEnvoyRetriableStatusCodes, "x-envoy-retriable-status-codes") \
  X(kEnvoyRetriableHeaderNames, "x-envoy-retriable-header-names")                                    \
  X(kEnvoyHedgeOnPerTryTimeout, "x-envoy-hedge-on-per-try-timeout")                                  \
  X(kEnvoyAttemptCount, "x-envoy-attempt-count") X(kEnvoyOverloaded, "x-envoy-overloaded")           \
  X(kEnvoyRateLimited, "x-envoy-ratelimited") X(kEnvoyDecoratorOperation, "x-envoy-decorator-operation") \
  X(kEnvoyImmediateHealthCheckFail, "x-envoy-immediate-health-check-fail")                           \
  X(kEnvoyIpTags, "x-envoy-ip-tags") X(kEnvoyForceTrace, "x-envoy-force-trace")                      \
  X(kEnvoyIsTimeoutRetry, "x-envoy-is-timeout-retry")                                                \
  X(kEnvoyDownstreamServiceCluster, "x-envoy-downstream-service-cluster")                            \
  X(kEnvoyDownstreamServiceNode, "x-envoy-downstream-service-node")                                  \
  X(kForwardedClientCert, "x-forwarded-client-cert") X(kGrpcStatus, "grpc-status")                   \
  X(kGrpcMessage, "grpc-message") X(kGrpcTimeout, "grpc-timeout") X(kRetryAfter, "retry-after")      \
  X(kCacheControl, "cache-control") X(kAccept, "accept") X(kAuthorization, "authorization")

enum class Header : uint8_t {
#define MILLRACE_X(enumerator, wire) enumerator,
  MILLRACE_HTTP_HEADERS(MILLRACE_X)
#undef MILLRACE_X
  kOther,  // any other name
};
inline constexpr size_t kKnownHeaders = static_cast<size_t>(Header::kOther);

std::string_view name(Header header);
// The id of a lower-case name; kOther when it is not a well-known one. Constant time.
Header header_id(std::string_view lower_name);
// RFC 9110 section 5.1 token / section 5.5 field value (visible, space, tab, obs-text).
bool valid_name(std::string_view name);
bool valid_value(std::string_view value);
bool equal_ignoring_case(std::string_view a, std::string_view b);
// Whether a comma-separated list (Connection, TE, ...) has the token, in any case.
bool list_has_token(std::string_view list, std::string_view token);

class HeaderMap {
 public:
  struct Entry {
    std::string_view name;
    std::string_view value;
    Header id = Header::kOther;
    bool removed = false;  // tombstone; for_each skips it
  };

  HeaderMap();
  HeaderMap(const HeaderMap&) = delete;
  HeaderMap& operator=(const HeaderMap&) = delete;

  // First value of the name; a view with a null data() when absent (present() tells absent from empty).
  std::string_view get(Header header) const {
    const uint16_t at = first_[static_cast<size_t>(header)];
    return at == 0 ? std::string_view{} : entries_[at - 1].value;
  }
  std::string_view get(std::string_view lower_name) const;
  bool has(Header header) const { return first_[static_cast<size_t>(header)] != 0; }
  bool has(std::string_view lower_name) const;
  // All values of the name joined with ", " (RFC 9110 section 5.3); empty when absent.
  std::string joined(std::string_view lower_name) const;

  // add: one more entry; set: replaces every entry of the name. The plain ones copy into the arena; *_view keep the
  // views, whose bytes must be static, in the arena, or in a block given to hold().
  void add(Header header, std::string_view value);
  void add(std::string_view lower_name, std::string_view value);
  void add_view(Header header, std::string_view value);
  void add_view(std::string_view lower_name, std::string_view value);  // resolves the id
  // For those who have resolved the id already; views as above.
  void add_view(Header id, std::string_view lower_name, std::string_view value) { push(id, lower_name, value); }
  void set(Header header, std::string_view value);
  void set(std::string_view lower_name, std::string_view value);
  void set_view(Header header, std::string_view value);
  // Gives the first entry of a name that is present another value; the others stay.
  void replace_view(Header header, std::string_view value) {
    Entry& e = entries_[first_[static_cast<size_t>(header)] - 1];
    bytes_ = bytes_ - e.value.size() + value.size();
    e.value = value;
  }
  // Appends ",value" (or the delimiter given) to the first entry, or adds it.
  void append(Header header, std::string_view value, std::string_view delimiter = ",");
  void append(std::string_view lower_name, std::string_view value, std::string_view delimiter = ",");
  bool remove(Header header);
  bool remove(std::string_view lower_name);
  // Removes every entry for which f(const Entry&) is true; returns how many.
  template <class F>
  size_t remove_if(F&& f) {
    size_t n = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!entries_[i].removed && f(static_cast<const Entry&>(entries_[i]))) { erase_at(i); ++n; }
    }
    return n;
  }
  template <class F>
  void for_each(F&& f) const {
    for (const Entry& e : entries_) if (!e.removed) f(e);
  }

  size_t size() const { return size_; }          // entries, tombstones not counted
  size_t byte_size() const { return bytes_; }    // names and values
  void clear();                                  // keeps the entry storage for the next message
  void copy_from(const HeaderMap& other);

  // Keeps a block alive as long as views into it are.
  void hold(base::BlockRef block) {
    if (held_.empty() || held_.back().get() != block.get()) held_.push_back(std::move(block));
  }
  // A copy of the bytes in the map's arena, valid until clear().
  std::string_view intern(std::string_view bytes);
  // n writable bytes in the arena, valid until clear().
  char* allocate(size_t n);

 private:
  void push(Header id, std::string_view name, std::string_view value) {
    MILLRACE_ASSERT(entries_.size() < UINT16_MAX);
    entries_.push_back(Entry{name, value, id, false});
    uint16_t& first = first_[static_cast<size_t>(id)];
    if (first == 0 && id != Header::kOther) first = static_cast<uint16_t>(entries_.size());
    ++size_;
    bytes_ += name.size() + value.size();
  }
  void append_to(Entry& entry, std::string_view value, std::string_view delimiter);
  void erase_at(size_t index);
  void find_next_first(Header id, size_t from);

  std::vector<Entry> entries_;
  std::array<uint16_t, kKnownHeaders + 1> first_;  // index + 1 of the first entry with that id; [kOther] stays 0
  std::vector<base::BlockRef> held_;
  base::BlockRef arena_;
  uint32_t arena_used_ = 0;
  size_t size_ = 0;
  size_t bytes_ = 0;
};

}  // namespace millrace::http
