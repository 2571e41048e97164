#include "stream/formatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "stream/format_program.h"

namespace millrace::stream {
namespace detail {

struct Program {
  std::vector<Element> elements;
  std::string empty_value;
};

namespace {

// Operators of Envoy which Millrace cannot honour: what they print has no source here yet.
constexpr std::array kEnvoyOnly = std::to_array<std::string_view>(
    {"CEL", "CLUSTER_METADATA", "COALESCE", "DOWNSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_LOCAL_CLOSE_REASON",
     "DYNAMIC_METADATA", "FILE_CONTENT", "FILTER_STATE", "METADATA", "PER_REQUEST_STATE", "SECRET", "TYPED_CEL",
     "UPSTREAM_CONNECTION_IDS_ATTEMPTED", "UPSTREAM_DETECTED_CLOSE_TYPE", "UPSTREAM_FILTER_STATE",
     "UPSTREAM_HOSTS_ATTEMPTED", "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_HOST_NAMES_ATTEMPTED",
     "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_LOCAL_CLOSE_REASON", "UPSTREAM_METADATA",
     "XFCC_VALUE"});

std::array<std::span<const Operator>, 3> tables() {
  return {message_operators(), stream_operators(), connection_operators()};
}

bool is_name_char(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

class Parser {
 public:
  explicit Parser(std::string_view format) : format_(format) {}

  base::Result<std::vector<Element>> parse() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      add_text(format_.substr(at_, percent - at_));
      at_ = percent;
      if (at_ == format_.size()) break;
      if (format_.substr(at_, 2) == "%%") {
        add_text("%");
        at_ += 2;
        continue;
      }
      base::Result<void> done = parse_operator();
      if (!done.ok()) return done.error();
    }
    return std::move(elements_);
  }

 private:
  void add_text(std::string_view text) {
    if (text.empty()) return;
    if (elements_.empty() || elements_.back().append_value != nullptr) elements_.emplace_back();
    elements_.back().text += text;
  }

  base::Error error(std::string_view name, std::string_view what,
                    base::ErrorCode code = base::ErrorCode::kInvalidArgument) const {
    return {code, base::Side::kInternal, 0, fmt::format("%{}% at position {}: {}", name, at_, what)};
  }

  // format_[at_] is the '%' that opens it.
  base::Result<void> parse_operator() {
    size_t end = at_ + 1;
    const auto peek = [&] { return end < format_.size() ? format_[end] : '\0'; };
    while (is_name_char(peek())) ++end;
    const std::string_view name = format_.substr(at_ + 1, end - at_ - 1);
    if (name.empty()) {
      return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0,
                         fmt::format("no operator follows the % at position {}; a percent sign is written %%", at_)};
    }
    std::string_view argument;
    if (peek() == '(') {
      const size_t close = format_.find(')', end);
      if (close == std::string_view::npos) return error(name, "its \")\" is missing");
      argument = format_.substr(end + 1, close - end - 1);
      end = close + 1;
    }
    Element element;
    const bool has_length = peek() == ':';
    if (has_length) {
      const char* const first = format_.data() + end + 1;
      const auto [last, failed] = std::from_chars(first, format_.data() + format_.size(), element.max_length);
      if (failed != std::errc()) return error(name, "a number must follow its \":\"");
      end = static_cast<size_t>(last - format_.data());
    }
    if (peek() != '%') return error(name, "its closing % is missing");
    base::Result<void> done = configure(name, argument, has_length, element);
    if (!done.ok()) return done;
    elements_.push_back(std::move(element));
    at_ = end + 1;
    return {};
  }

  base::Result<void> configure(std::string_view name, std::string_view argument, bool has_length, Element& element) {
    const Operator* op = find_operator(name);
    if (op == nullptr) {
      if (is_known_to_envoy(name)) {
        return error(name, "known to Envoy, not supported by Millrace yet", base::ErrorCode::kUnsupported);
      }
      const std::string_view closest = closest_operator(name);
      return error(name, closest.empty() ? "unknown operator"
                                         : fmt::format("unknown operator, did you mean {}?", closest));
    }
    if (op->arguments == Arguments::kNone && !argument.empty()) return error(name, "takes no argument");
    if (op->arguments == Arguments::kRequired && argument.empty()) return error(name, "needs an argument");
    if (has_length && !op->length_allowed) return error(name, "takes no length");
    element.append_value = op->append_value;
    element.type = op->type;
    if (op->configure != nullptr) {
      base::Result<void> done = op->configure(argument, element);
      if (!done.ok()) return error(name, done.error().what, done.error().code);
    }
    return {};
  }

  const std::string_view format_;
  size_t at_ = 0;
  std::vector<Element> elements_;
};

}  // namespace

void append_number(uint64_t value, std::string& out) {
  char text[20];
  out.append(text, static_cast<size_t>(std::to_chars(text, text + sizeof text, value).ptr - text));
}

base::Error argument_error(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

const Operator* find_operator(std::string_view name) {
  for (const std::span<const Operator> table : tables()) {
    for (const Operator& op : table) {
      if (op.name == name) return &op;
    }
  }
  return nullptr;
}

bool is_known_to_envoy(std::string_view name) {
  return std::find(kEnvoyOnly.begin(), kEnvoyOnly.end(), name) != kEnvoyOnly.end();
}

std::string_view closest_operator(std::string_view name) {
  // No operator is longer; keeps the cost of hostile input down.
  if (name.size() > 64) return {};
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  std::string_view closest;
  size_t best = std::min<size_t>(3, name.size() / 2) + 1;
  for (const std::span<const Operator> table : tables()) {
    for (const Operator& op : table) {
      const size_t distance = edit_distance(upper, op.name);
      if (distance < best) {
        best = distance;
        closest = op.name;
      }
    }
  }
  return closest;
}

base::Result<std::vector<Element>> parse_format(std::string_view format) { return Parser(format).parse(); }

}  // namespace detail

const std::string_view kDefaultAccessLogFormat =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" "
    "\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

std::string_view name(AccessLogType type) {
  switch (type) {
    case AccessLogType::kNotSet: return "NotSet";
    case AccessLogType::kTcpUpstreamConnected: return "TcpUpstreamConnected";
    case AccessLogType::kTcpPeriodic: return "TcpPeriodic";
    case AccessLogType::kTcpConnectionEnd: return "TcpConnectionEnd";
    case AccessLogType::kDownstreamStart: return "DownstreamStart";
    case AccessLogType::kDownstreamPeriodic: return "DownstreamPeriodic";
    case AccessLogType::kDownstreamEnd: return "DownstreamEnd";
    case AccessLogType::kUpstreamPoolReady: return "UpstreamPoolReady";
    case AccessLogType::kUpstreamPeriodic: return "UpstreamPeriodic";
    case AccessLogType::kUpstreamEnd: return "UpstreamEnd";
    case AccessLogType::kUdpTunnelUpstreamConnected: return "UdpTunnelUpstreamConnected";
    case AccessLogType::kUdpPeriodic: return "UdpPeriodic";
    case AccessLogType::kUdpSessionEnd: return "UdpSessionEnd";
  }
  return {};
}

base::Result<Formatter> Formatter::compile(std::string_view format, const FormatOptions& options) {
  base::Result<std::vector<detail::Element>> elements = detail::parse_format(format);
  if (!elements.ok()) return elements.error();
  auto program = std::make_unique<detail::Program>();
  program->elements = std::move(*elements);
  program->empty_value = options.empty_value;
  return Formatter(std::move(program));
}

Formatter::Formatter(std::unique_ptr<const detail::Program> program) : program_(std::move(program)) {}
Formatter::Formatter(Formatter&&) noexcept = default;
Formatter& Formatter::operator=(Formatter&&) noexcept = default;
Formatter::~Formatter() = default;

void Formatter::append(const FormatContext& context, std::string& out) const {
  for (const detail::Element& element : program_->elements) {
    if (!element.append(context, out)) out += program_->empty_value;
  }
}

bool Formatter::is_constant() const {
  const std::vector<detail::Element>& elements = program_->elements;
  return elements.empty() || (elements.size() == 1 && elements[0].append_value == nullptr);
}

std::string_view Formatter::constant_text() const {
  return program_->elements.empty() ? std::string_view() : std::string_view(program_->elements[0].text);
}

}  // namespace millrace::stream
