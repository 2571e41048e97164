// Operators over the stream itself: times, durations, byte counts, codes, flags, names, and what the process knows.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>

#include "base/prng.h"
#include "stream/format_program.h"

namespace millrace::stream::detail {
namespace {

using base::MonotonicTime;

// ---- values that a small function reads

template <auto Get>
bool append_text(const Element&, const FormatContext& context, std::string& out) {
  const std::string_view text = Get(*context.info);
  out += text;
  return !text.empty();
}

template <auto Get>
bool append_count(const Element&, const FormatContext& context, std::string& out) {
  append_number(Get(*context.info), out);
  return true;
}

constexpr Operator text(std::string_view name, AppendValue append) { return {name, append}; }
constexpr Operator number(std::string_view name, AppendValue append) { return {name, append, ValueType::kNumber}; }

bool append_zero(const Element&, const FormatContext&, std::string& out) {
  out += '0';
  return true;
}

// What only exists in parts of Envoy that Millrace has no like of (QUIC, internal listeners).
bool append_nothing(const Element&, const FormatContext&, std::string&) { return false; }

// For words of a line that is split at blanks.
void append_underscored(std::string_view text, std::string& out) {
  for (const char c : text) out += c == ' ' || (c >= '\t' && c <= '\r') ? '_' : c;
}

template <auto Get>
bool append_word(const Element&, const FormatContext& context, std::string& out) {
  const std::string_view text = Get(*context.info);
  append_underscored(text, out);
  return !text.empty();
}

bool append_code_details(const Element& element, const FormatContext& context, std::string& out) {
  const std::string_view details = context.info->response_code_details;
  if (element.option != 0) {
    out += details;
  } else {
    append_underscored(details, out);
  }
  return !details.empty();
}

base::Result<void> configure_code_details(std::string_view argument, Element& element) {
  if (!argument.empty() && argument != "ALLOW_WHITESPACES") {
    return argument_error(fmt::format("\"{}\" must be ALLOW_WHITESPACES", argument));
  }
  element.option = argument.empty() ? 0 : 1;
  return {};
}

bool append_flags(const Element&, const FormatContext& context, std::string& out) {
  context.info->flags.append_short(out);
  return true;
}

bool append_flags_long(const Element&, const FormatContext& context, std::string& out) {
  context.info->flags.append_long(out);
  return true;
}

// ---- points of time

bool append_start_time(const Element& element, const FormatContext& context, std::string& out) {
  if (!is_set(context.info->start_time)) return false;
  element.time.append(context.info->start_time, out);
  return true;
}

bool append_emit_time(const Element& element, const FormatContext& context, std::string& out) {
  element.time.append(is_set(context.system_now) ? context.system_now : std::chrono::system_clock::now(), out);
  return true;
}

template <TimeZone Zone>
base::Result<void> configure_time(std::string_view argument, Element& element) {
  base::Result<TimeFormat> format = TimeFormat::compile(argument, Zone);
  if (!format.ok()) return format.error();
  element.time = std::move(*format);
  return {};
}

// ---- durations

constexpr int64_t kNsPerMs = 1'000'000;

bool append_between(MonotonicTime from, MonotonicTime to, int64_t ns_per_unit, std::string& out) {
  if (!is_set(from) || !is_set(to) || to < from) return false;
  const int64_t ns = std::chrono::duration_cast<base::nanoseconds>(to - from).count();
  append_number(static_cast<uint64_t>(ns / ns_per_unit), out);
  return true;
}

template <auto Get>
bool append_since_start(const Element&, const FormatContext& context, std::string& out) {
  return append_between(context.info->start, Get(*context.info), kNsPerMs, out);
}

bool append_duration(const Element&, const FormatContext& context, std::string& out) {
  const StreamInfo& info = *context.info;
  const MonotonicTime end = is_set(info.end)      ? info.end
                            : is_set(context.now) ? context.now
                                                  : base::Clock::now();
  return append_between(info.start, end, kNsPerMs, out);
}

bool append_response_tx_duration(const Element&, const FormatContext& context, std::string& out) {
  return append_between(context.info->upstream.first_rx, context.info->last_downstream_tx, kNsPerMs, out);
}

bool append_handshake_duration(const Element&, const FormatContext& context, std::string& out) {
  const ConnectionInfo* connection = context.info->connection;
  return connection != nullptr && append_between(connection->start, connection->handshake_end, kNsPerMs, out);
}

using GetTime = MonotonicTime (*)(const StreamInfo&);
struct TimePoint {
  std::string_view name;
  GetTime get;
};
constexpr std::array<TimePoint, 14> kTimePoints{{
    {"DS_RX_BEG", [](const StreamInfo& info) { return info.start; }},
    {"DS_RX_END", [](const StreamInfo& info) { return info.request_end; }},
    {"US_CX_BEG", [](const StreamInfo& info) { return info.upstream.connect_start; }},
    {"US_CX_END", [](const StreamInfo& info) { return info.upstream.connect_end; }},
    {"US_HS_END", [](const StreamInfo& info) { return info.upstream.handshake_end; }},
    {"US_TX_BEG", [](const StreamInfo& info) { return info.upstream.first_tx; }},
    {"US_TX_END", [](const StreamInfo& info) { return info.upstream.last_tx; }},
    {"US_RX_BEG", [](const StreamInfo& info) { return info.upstream.first_rx; }},
    {"US_RX_BODY_BEG", [](const StreamInfo& info) { return info.upstream.first_body_rx; }},
    {"US_RX_END", [](const StreamInfo& info) { return info.upstream.last_rx; }},
    {"DS_TX_BEG", [](const StreamInfo& info) { return info.first_downstream_tx; }},
    {"DS_TX_END", [](const StreamInfo& info) { return info.last_downstream_tx; }},
    {"DS_CX_BEG",
     [](const StreamInfo& info) { return info.connection != nullptr ? info.connection->start : info.start; }},
    {"DS_CX_END", [](const StreamInfo& info) { return info.end; }},
}};

// option, option_2: the time points; precision: 0 ms, 1 us, 2 ns.
bool append_common_duration(const Element& element, const FormatContext& context, std::string& out) {
  constexpr int64_t kNsPerUnit[] = {kNsPerMs, 1000, 1};
  const StreamInfo& info = *context.info;
  return append_between(kTimePoints[element.option].get(info), kTimePoints[element.option_2].get(info),
                        kNsPerUnit[element.precision], out);
}

base::Result<void> set_time_point(std::string_view given, uint8_t& option) {
  for (size_t i = 0; i < kTimePoints.size(); ++i) {
    if (kTimePoints[i].name != given) continue;
    option = static_cast<uint8_t>(i);
    return {};
  }
  std::string names;
  for (const TimePoint& point : kTimePoints) names.append(names.empty() ? "" : ", ").append(point.name);
  return argument_error(fmt::format("time point \"{}\" is none of {}", given, names));
}

base::Result<void> configure_common_duration(std::string_view argument, Element& element) {
  const size_t first = argument.find(':');
  if (first == std::string_view::npos) return argument_error("needs START:END or START:END:PRECISION");
  const size_t second = argument.find(':', first + 1);
  base::Result<void> done = set_time_point(argument.substr(0, first), element.option);
  if (!done.ok()) return done;
  const size_t end_length = second == std::string_view::npos ? second : second - first - 1;
  done = set_time_point(argument.substr(first + 1, end_length), element.option_2);
  if (!done.ok() || second == std::string_view::npos) return done;
  const std::string_view precision = argument.substr(second + 1);
  if (precision != "ms" && precision != "us" && precision != "ns") {
    return argument_error(fmt::format("precision \"{}\" must be ms, us or ns", precision));
  }
  element.precision = precision == "ms" ? 0 : precision == "us" ? 1 : 2;
  return {};
}

// ---- the process

bool append_kept(const Element& element, const FormatContext&, std::string& out) {
  out += element.text;
  return element.option != 0;
}

base::Result<void> configure_environment(std::string_view argument, Element& element) {
  const char* value = ::getenv(std::string(argument).c_str());
  element.option = value != nullptr ? 1 : 0;
  if (value != nullptr) element.text = value;
  return {};
}

base::Result<void> configure_hostname(std::string_view, Element& element) {
  char name[HOST_NAME_MAX + 1] = {};
  element.option = ::gethostname(name, sizeof name - 1) == 0 ? 1 : 0;
  element.text = name;
  return {};
}

// A version 4 UUID (RFC 9562 section 5.4).
bool append_unique_id(const Element&, const FormatContext&, std::string& out) {
  thread_local base::Prng prng(base::random_seed());
  const uint64_t high = (prng.next() & ~0xf000ull) | 0x4000;
  const uint64_t low = (prng.next() & ~(3ull << 62)) | (2ull << 62);
  fmt::format_to(std::back_inserter(out), "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff,
                 high & 0xffff, low >> 48, low & 0xffff'ffff'ffffull);
  return true;
}

using Info = const StreamInfo&;
uint64_t plain_sent(const ByteCounts& b) { return b.plain_header_sent > 0 ? b.plain_header_sent : b.header_sent; }
uint64_t plain_received(const ByteCounts& b) {
  return b.plain_header_received > 0 ? b.plain_header_received : b.header_received;
}
constexpr ValueType kTextType = ValueType::kText;

constexpr std::array kOperators = {
    Operator{"START_TIME", append_start_time, kTextType, Arguments::kOptional, false, configure_time<TimeZone::kUtc>},
    Operator{"START_TIME_LOCAL", append_start_time, kTextType, Arguments::kOptional, false,
             configure_time<TimeZone::kLocal>},
    Operator{"EMIT_TIME", append_emit_time, kTextType, Arguments::kOptional, false, configure_time<TimeZone::kUtc>},
    Operator{"EMIT_TIME_LOCAL", append_emit_time, kTextType, Arguments::kOptional, false,
             configure_time<TimeZone::kLocal>},
    number("DURATION", append_duration),
    Operator{"COMMON_DURATION", append_common_duration, ValueType::kNumber, Arguments::kRequired, false,
             configure_common_duration},
    number("REQUEST_DURATION", append_since_start<[](Info i) { return i.request_end; }>),
    number("REQUEST_TX_DURATION", append_since_start<[](Info i) { return i.upstream.last_tx; }>),
    number("RESPONSE_DURATION", append_since_start<[](Info i) { return i.upstream.first_rx; }>),
    number("RESPONSE_TX_DURATION", append_response_tx_duration),
    number("UPSTREAM_CONNECTION_POOL_READY_DURATION", append_since_start<[](Info i) { return i.upstream.pool_ready; }>),
    number("DOWNSTREAM_HANDSHAKE_DURATION", append_handshake_duration),
    number("ROUNDTRIP_DURATION", append_nothing),

    number("BYTES_RECEIVED", append_count<[](Info i) { return i.bytes_received; }>),
    number("BYTES_SENT", append_count<[](Info i) { return i.bytes_sent; }>),
    number("BYTES_RETRANSMITTED", append_zero),
    number("PACKETS_RETRANSMITTED", append_zero),
    number("DOWNSTREAM_WIRE_BYTES_SENT", append_count<[](Info i) { return i.downstream_bytes.wire_sent; }>),
    number("DOWNSTREAM_WIRE_BYTES_RECEIVED", append_count<[](Info i) { return i.downstream_bytes.wire_received; }>),
    number("DOWNSTREAM_HEADER_BYTES_SENT", append_count<[](Info i) { return i.downstream_bytes.header_sent; }>),
    number("DOWNSTREAM_HEADER_BYTES_RECEIVED", append_count<[](Info i) { return i.downstream_bytes.header_received; }>),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
           append_count<[](Info i) { return plain_sent(i.downstream_bytes); }>),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
           append_count<[](Info i) { return plain_received(i.downstream_bytes); }>),
    number("UPSTREAM_WIRE_BYTES_SENT", append_count<[](Info i) { return i.upstream.bytes.wire_sent; }>),
    number("UPSTREAM_WIRE_BYTES_RECEIVED", append_count<[](Info i) { return i.upstream.bytes.wire_received; }>),
    number("UPSTREAM_HEADER_BYTES_SENT", append_count<[](Info i) { return i.upstream.bytes.header_sent; }>),
    number("UPSTREAM_HEADER_BYTES_RECEIVED", append_count<[](Info i) { return i.upstream.bytes.header_received; }>),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
           append_count<[](Info i) { return plain_sent(i.upstream.bytes); }>),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
           append_count<[](Info i) { return plain_received(i.upstream.bytes); }>),

    number("RESPONSE_CODE", append_count<[](Info i) { return uint64_t{i.response_code}; }>),
    Operator{"RESPONSE_CODE_DETAILS", append_code_details, kTextType, Arguments::kOptional, false,
             configure_code_details},
    text("CONNECTION_TERMINATION_DETAILS", append_text<[](Info i) { return i.connection_termination_details; }>),
    text("RESPONSE_FLAGS", append_flags),
    text("RESPONSE_FLAGS_LONG", append_flags_long),
    text("CUSTOM_FLAGS", append_text<[](Info i) { return i.custom_flags; }>),
    text("PROTOCOL", append_text<[](Info i) { return name(i.protocol); }>),
    text("UPSTREAM_PROTOCOL", append_text<[](Info i) { return name(i.upstream.protocol); }>),
    text("ROUTE_NAME", append_text<[](Info i) { return i.route_name; }>),
    text("VIRTUAL_CLUSTER_NAME", append_text<[](Info i) { return i.virtual_cluster_name; }>),
    text("UPSTREAM_CLUSTER",
         append_text<[](Info i) {
           return i.upstream.cluster_alt_stat_name.empty() ? i.upstream.cluster_name : i.upstream.cluster_alt_stat_name;
         }>),
    text("UPSTREAM_CLUSTER_RAW", append_text<[](Info i) { return i.upstream.cluster_name; }>),
    text("UPSTREAM_TRANSPORT_FAILURE_REASON", append_word<[](Info i) { return i.upstream.transport_failure_reason; }>),
    number("UPSTREAM_REQUEST_ATTEMPT_COUNT",
           append_count<[](Info i) { return uint64_t{i.upstream.attempt_count}; }>),
    text("STREAM_ID", append_text<[](Info i) { return i.request_id; }>),
    text("TRACE_ID", append_text<[](Info i) { return i.trace_id; }>),
    text("SPAN_ID", append_nothing),

    text("UNIQUE_ID", append_unique_id),
    Operator{"HOSTNAME", append_kept, kTextType, Arguments::kNone, false, configure_hostname},
    Operator{"ENVIRONMENT", append_kept, kTextType, Arguments::kRequired, true, configure_environment},
};

}  // namespace

std::span<const Operator> stream_operators() { return kOperators; }

}  // namespace millrace::stream::detail
