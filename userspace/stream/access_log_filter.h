// Which streams an access log writes a line for: Envoy's AccessLogFilter as plain options, compiled into a predicate.
// Immutable, part of the Snapshot, used by all workers; evaluate() allocates nothing.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "stream/formatter.h"
#include "stream/response_flags.h"

namespace millrace::stream {

struct AccessLogFilterOptions;

namespace log_filter {

enum class Op : uint8_t { kEqual, kGreaterOrEqual, kLessOrEqual, kNotEqual };
struct Comparison {
  Op op = Op::kEqual;
  uint64_t value = 0;  // the default of Envoy's RuntimeUInt32; there is no runtime to change it
};
struct StatusCode {
  Comparison comparison;
};
struct DurationMs {
  Comparison comparison;
};
struct NotHealthCheck {};
struct Traceable {};
// numerator of denominator streams; the same ones for the same x-request-id, unless independent.
struct Fraction {
  uint32_t numerator = 0;
  uint32_t denominator = 100;
  bool independent = false;
};
// A closure, because header matchers live in a room above this one.
struct RequestHeaders {
  std::function<bool(const http::HeaderMap&)> matches;
};
struct Flags {
  std::vector<std::string> short_names;  // empty: any flag at all
};
struct GrpcStatus {
  std::vector<int64_t> statuses;
  bool exclude = false;
};
struct LogType {
  std::vector<AccessLogType> types;
  bool exclude = false;
};
struct And {
  std::vector<AccessLogFilterOptions> filters;
};
struct Or {
  std::vector<AccessLogFilterOptions> filters;
};

}  // namespace log_filter

struct AccessLogFilterOptions {
  std::variant<log_filter::NotHealthCheck, log_filter::StatusCode, log_filter::DurationMs, log_filter::Traceable,
               log_filter::Fraction, log_filter::RequestHeaders, log_filter::Flags, log_filter::GrpcStatus,
               log_filter::LogType, log_filter::And, log_filter::Or>
      filter;
};

class AccessLogFilter {
 public:
  // Fails on a response flag that does not exist, a fraction of nothing, or nesting without end.
  static base::Result<AccessLogFilter> compile(const AccessLogFilterOptions& options);
  // Whether the line is to be written.
  bool evaluate(const FormatContext& context) const { return matches(root_, context); }

 private:
  enum class Kind : uint8_t {
    kStatusCode, kDuration, kNotHealthCheck, kTraceable, kFraction, kHeaders, kFlags, kGrpcStatus, kLogType, kAnd, kOr
  };
  struct Node {
    Kind kind = Kind::kNotHealthCheck;
    bool exclude = false;  // of a set; for kFraction: independent
    log_filter::Comparison comparison;
    uint64_t set = 0;      // bits: response flags, log types, gRPC statuses
    uint32_t numerator = 0;
    uint32_t denominator = 1;
    std::function<bool(const http::HeaderMap&)> headers;
    std::vector<Node> children;
  };
  struct Compiler;

  static bool matches(const Node& node, const FormatContext& context);
  static bool in_fraction(const Node& node, const FormatContext& context);

  Node root_;
};

}  // namespace millrace::stream
