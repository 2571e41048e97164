#include "stream/access_log_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/prng.h"
#include "stream/grpc_status.h"

namespace millrace::stream {
namespace {

bool compare(const log_filter::Comparison& comparison, uint64_t value) {
  switch (comparison.op) {
    case log_filter::Op::kEqual: return value == comparison.value;
    case log_filter::Op::kGreaterOrEqual: return value >= comparison.value;
    case log_filter::Op::kLessOrEqual: return value <= comparison.value;
    case log_filter::Op::kNotEqual: return value != comparison.value;
  }
  return false;
}

base::Error invalid(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

uint64_t bit(uint64_t index) { return uint64_t{1} << index; }

constexpr int64_t kGrpcStatusMax = 63;

}  // namespace

struct AccessLogFilter::Compiler {
  int depth = 0;

  base::Result<Node> operator()(const log_filter::StatusCode& status) const {
    Node node;
    node.kind = Kind::kStatusCode;
    node.comparison = status.comparison;
    return node;
  }
  base::Result<Node> operator()(const log_filter::DurationMs& duration) const {
    Node node;
    node.kind = Kind::kDuration;
    node.comparison = duration.comparison;
    return node;
  }
  base::Result<Node> operator()(const log_filter::NotHealthCheck&) const { return Node(); }
  base::Result<Node> operator()(const log_filter::Traceable&) const {
    Node node;
    node.kind = Kind::kTraceable;
    return node;
  }
  base::Result<Node> operator()(const log_filter::Fraction& fraction) const {
    if (fraction.denominator == 0) return invalid("a fraction needs a denominator");
    Node node;
    node.kind = Kind::kFraction;
    node.numerator = fraction.numerator;
    node.denominator = fraction.denominator;
    node.exclude = fraction.independent;
    return node;
  }
  base::Result<Node> operator()(const log_filter::RequestHeaders& headers) const {
    if (!headers.matches) return invalid("a header filter needs a matcher");
    Node node;
    node.kind = Kind::kHeaders;
    node.headers = headers.matches;
    return node;
  }
  base::Result<Node> operator()(const log_filter::Flags& flags) const {
    Node node;
    node.kind = Kind::kFlags;
    for (const std::string& name : flags.short_names) {
      const auto flag = parse_response_flag(name);
      if (!flag.has_value()) return invalid(fmt::format("there is no response flag \"{}\"", name));
      node.set |= ResponseFlags(*flag).bits();
    }
    if (flags.short_names.empty()) node.set = ~uint64_t{0};
    return node;
  }
  base::Result<Node> operator()(const log_filter::GrpcStatus& grpc) const {
    Node node;
    node.kind = Kind::kGrpcStatus;
    node.exclude = grpc.exclude;
    for (const int64_t status : grpc.statuses) {
      if (status < 0 || status > kGrpcStatusMax) return invalid(fmt::format("there is no gRPC status {}", status));
      node.set |= bit(static_cast<uint64_t>(status));
    }
    return node;
  }
  base::Result<Node> operator()(const log_filter::LogType& log_type) const {
    Node node;
    node.kind = Kind::kLogType;
    node.exclude = log_type.exclude;
    for (const AccessLogType type : log_type.types) node.set |= bit(static_cast<uint64_t>(type));
    return node;
  }
  base::Result<Node> operator()(const log_filter::And& all) const { return compile_children(Kind::kAnd, all.filters); }
  base::Result<Node> operator()(const log_filter::Or& any) const { return compile_children(Kind::kOr, any.filters); }

  base::Result<Node> compile_children(Kind kind, const std::vector<AccessLogFilterOptions>& filters) const {
    constexpr int kDepthMax = 32;
    if (depth >= kDepthMax) return invalid("filters are nested more than 32 deep");
    Node node;
    node.kind = kind;
    for (const AccessLogFilterOptions& filter : filters) {
      base::Result<Node> child = std::visit(Compiler{depth + 1}, filter.filter);
      if (!child.ok()) return child;
      node.children.push_back(std::move(*child));
    }
    return node;
  }
};

base::Result<AccessLogFilter> AccessLogFilter::compile(const AccessLogFilterOptions& options) {
  base::Result<Node> root = std::visit(Compiler{}, options.filter);
  if (!root.ok()) return root.error();
  AccessLogFilter filter;
  filter.root_ = std::move(*root);
  return filter;
}

// As Envoy does it, the first eight digits of a UUID are the dice.
bool AccessLogFilter::in_fraction(const Node& node, const FormatContext& context) {
  const bool independent = node.exclude;
  if (!independent && context.request_headers != nullptr) {
    const std::string_view id = context.request_headers->get(http::Header::kRequestId);
    uint64_t value = 0;
    const char* const end = id.data() + std::min<size_t>(id.size(), 8);
    const auto [parsed, error] = std::from_chars(id.data(), end, value, 16);
    if (id.size() >= 8 && error == std::errc() && parsed == end) return value % node.denominator < node.numerator;
  }
  thread_local base::Prng prng(base::random_seed());
  return prng.below(node.denominator) < node.numerator;
}

bool AccessLogFilter::matches(const Node& node, const FormatContext& context) {
  const StreamInfo& info = *context.info;
  switch (node.kind) {
    case Kind::kStatusCode:
      return compare(node.comparison, info.response_code);
    case Kind::kDuration: {
      const base::MonotonicTime now = is_set(context.now) || is_set(info.end) ? context.now : base::Clock::now();
      const auto ms = std::chrono::duration_cast<base::milliseconds>(info.duration(now)).count();
      return compare(node.comparison, static_cast<uint64_t>(std::max<int64_t>(ms, 0)));
    }
    case Kind::kNotHealthCheck:
      return !info.is_health_check;
    case Kind::kTraceable:
      return info.is_traceable;
    case Kind::kFraction:
      return in_fraction(node, context);
    case Kind::kHeaders: {
      static const http::HeaderMap kNoHeaders;
      return node.headers(context.request_headers != nullptr ? *context.request_headers : kNoHeaders);
    }
    case Kind::kFlags:
      return (info.flags.bits() & node.set) != 0;
    case Kind::kGrpcStatus: {
      const auto found = grpc_status(context.response_trailers, context.response_headers, info.response_code);
      const int64_t status = found.value_or(kGrpcUnknown);
      const bool in = status >= 0 && status <= kGrpcStatusMax && (node.set & bit(static_cast<uint64_t>(status))) != 0;
      return in != node.exclude;
    }
    case Kind::kLogType:
      return ((node.set & bit(static_cast<uint64_t>(context.log_type))) != 0) != node.exclude;
    case Kind::kAnd:
      return std::all_of(node.children.begin(), node.children.end(),
                         [&](const Node& child) { return matches(child, context); });
    case Kind::kOr:
      return std::any_of(node.children.begin(), node.children.end(),
                         [&](const Node& child) { return matches(child, context); });
  }
  return false;
}

}  // namespace millrace::stream
