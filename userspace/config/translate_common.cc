#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "config/translator.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/type/matcher/v3/regex.pb.h"
#include "envoy/type/matcher/v3/string.pb.h"
#include "envoy/type/v3/percent.pb.h"

namespace millrace::config {

// What is read here is sent in responses and log lines; this also ends the reading of /dev/zero.
static constexpr size_t kFileBytesMax = 1 << 20;

// Ends at the end of the file, or beyond kFileBytesMax bytes. It may be a private key: its bytes come into the string
// straight away, which has room for all of them, so that no buffer is left with a copy.
static std::ifstream read_file(const std::string& name, std::string& bytes) {
  std::ifstream file;
  file.rdbuf()->pubsetbuf(nullptr, 0);
  file.open(name, std::ios::binary);
  std::error_code unknown;
  const uintmax_t size = std::filesystem::file_size(name, unknown);
  if (!unknown) bytes.reserve(std::min<uintmax_t>(size, kFileBytesMax) + 1);
  while (file.good() && bytes.size() <= kFileBytesMax) {
    const size_t before = bytes.size();
    bytes.resize(bytes.capacity() > before ? bytes.capacity() : before + 4096);
    file.read(bytes.data() + before, static_cast<std::streamsize>(bytes.size() - before));
    bytes.resize(before + static_cast<size_t>(file.gcount()));
  }
  return file;
}

base::milliseconds Translator::duration(const google::protobuf::Duration& from) {
  // A positive duration below a millisecond is one: zero would mean "off".
  const int64_t ms = from.seconds() * 1000 + from.nanos() / 1'000'000;
  if (ms == 0 && from.nanos() > 0) return base::milliseconds(1);
  return base::milliseconds(ms);
}

std::optional<net::Address> Translator::socket_address(const core_v3::SocketAddress& from, Path path,
                                                       bool port_zero_allowed) {
  if (from.port_specifier_case() != core_v3::SocketAddress::kPortValue) {
    error_if_first(path, "port_value is not set", "write port_value: 10000");
    return std::nullopt;
  }
  if (from.port_value() > 65535) {
    error_if_first(path + ".port_value", fmt::format("{} is not a port", from.port_value()), "use 0 to 65535");
    return std::nullopt;
  }
  if (from.port_value() == 0 && !port_zero_allowed) {
    error(path + ".port_value", "port 0 cannot be connected to");
    return std::nullopt;
  }
  base::Result<net::Address> ip = net::Address::parse_ip(from.address(), static_cast<uint16_t>(from.port_value()));
  if (ip.ok()) return std::move(*ip);
  error(path + ".address", ip.error().what,
        port_zero_allowed ? "write an IP address" : "a host name needs a cluster of type STRICT_DNS or LOGICAL_DNS");
  return std::nullopt;
}

void Translator::own_network_namespace(const core_v3::SocketAddress& from, Path path) {
  if (from.network_namespace_filepath().empty()) return;
  error(path + ".network_namespace_filepath", "only the addresses of listeners may be in another network namespace",
        "take it out: the daemon connects, and has its admin page, in its own network namespace");
}

std::optional<net::Address> Translator::address(const core_v3::Address& from, Path path, bool port_zero_allowed) {
  switch (from.address_case()) {
    case core_v3::Address::kPipe: {
      base::Result<net::Address> pipe = net::Address::pipe(from.pipe().path());
      if (pipe.ok()) return std::move(*pipe);
      error(path + ".pipe.path", pipe.error().what);
      return std::nullopt;
    }
    case core_v3::Address::kSocketAddress:
      return socket_address(from.socket_address(), path + ".socket_address", port_zero_allowed);
    default:
      error_if_first(path, "the address is empty", "set socket_address or pipe");
      return std::nullopt;
  }
}

std::vector<net::Cidr> Translator::cidr_ranges(const google::protobuf::RepeatedPtrField<core_v3::CidrRange>& from,
                                               Path path) {
  std::vector<net::Cidr> to;
  for (int i = 0; i < from.size(); ++i) {
    const std::string at = fmt::format("{}[{}]", path, i);
    base::Result<net::Address> prefix = net::Address::parse_ip(from[i].address_prefix(), 0);
    if (!prefix.ok()) {
      error(at + ".address_prefix", prefix.error().what);
      continue;
    }
    const uint32_t bits = prefix->kind() == net::Address::Kind::kIpv4 ? 32 : 128;
    if (from[i].prefix_len().value() > bits) {
      error(at + ".prefix_len", fmt::format("{} bits are more than the address has", from[i].prefix_len().value()),
            fmt::format("use at most {}", bits));
      continue;
    }
    to.push_back({std::move(*prefix), from[i].prefix_len().value()});
  }
  return to;
}

net::TcpKeepalive Translator::keepalive(const core_v3::TcpKeepalive& from) {
  net::TcpKeepalive to;
  if (from.has_keepalive_probes()) to.probes = from.keepalive_probes().value();
  if (from.has_keepalive_time()) to.time_s = from.keepalive_time().value();
  if (from.has_keepalive_interval()) to.interval_s = from.keepalive_interval().value();
  return to;
}

std::vector<net::SocketOption> Translator::socket_options(
    const google::protobuf::RepeatedPtrField<core_v3::SocketOption>& from) {
  std::vector<net::SocketOption> to;
  for (const core_v3::SocketOption& option : from) {
    net::SocketOption out;
    out.level = static_cast<int>(option.level());
    out.name = static_cast<int>(option.name());
    if (option.value_case() == core_v3::SocketOption::kIntValue) {
      const int value = static_cast<int>(option.int_value());
      out.value.resize(sizeof value);
      std::memcpy(out.value.data(), &value, sizeof value);
    } else {
      out.value.assign(option.buf_value().begin(), option.buf_value().end());
    }
    if (option.state() == core_v3::SocketOption::STATE_BOUND) out.state = net::SocketOption::State::kBound;
    if (option.state() == core_v3::SocketOption::STATE_LISTENING) out.state = net::SocketOption::State::kListening;
    to.push_back(std::move(out));
  }
  return to;
}

std::string Translator::data_source(const core_v3::DataSource& from, Path path) {
  switch (from.specifier_case()) {
    case core_v3::DataSource::kInlineString:
      return from.inline_string();
    case core_v3::DataSource::kInlineBytes:
      return from.inline_bytes();
    case core_v3::DataSource::kEnvironmentVariable: {
      const char* value = std::getenv(from.environment_variable().c_str());
      if (value != nullptr) return value;
      error(path + ".environment_variable",
            fmt::format("{} is not set in the environment", from.environment_variable()));
      return {};
    }
    case core_v3::DataSource::kFilename: {
      std::string bytes;
      std::ifstream file = read_file(from.filename(), bytes);
      if (file.eof()) return bytes;
      if (bytes.size() > kFileBytesMax) {
        error(path + ".filename", fmt::format("'{}' is longer than {} bytes", from.filename(), kFileBytesMax));
      } else {
        error(path + ".filename", fmt::format("cannot read '{}': {}", from.filename(), std::strerror(errno)));
      }
      return {};
    }
    default:
      return {};
  }
}

route::StringMatch Translator::string_match(const envoy::type::matcher::v3::StringMatcher& from) {
  using Matcher = envoy::type::matcher::v3::StringMatcher;
  route::StringMatch to;
  to.ignore_case = from.ignore_case();
  switch (from.match_pattern_case()) {
    case Matcher::kPrefix:
      to.kind = route::StringMatch::Kind::kPrefix;
      to.value = from.prefix();
      break;
    case Matcher::kSuffix:
      to.kind = route::StringMatch::Kind::kSuffix;
      to.value = from.suffix();
      break;
    case Matcher::kContains:
      to.kind = route::StringMatch::Kind::kContains;
      to.value = from.contains();
      break;
    case Matcher::kSafeRegex:
      to.kind = route::StringMatch::Kind::kSafeRegex;
      to.value = from.safe_regex().regex();
      break;
    default:
      to.value = from.exact();
      break;
  }
  return to;
}

route::HeaderMatch Translator::header_match(const route_v3::HeaderMatcher& from) {
  using Kind = route::StringMatch::Kind;
  route::HeaderMatch to;
  to.name = from.name();
  to.invert_match = from.invert_match();
  to.treat_missing_header_as_empty = from.treat_missing_header_as_empty();
  const auto string = [&](Kind kind, const std::string& value) {
    to.kind = route::HeaderMatch::Kind::kString;
    to.string.kind = kind;
    to.string.value = value;
  };
  switch (from.header_match_specifier_case()) {
    case route_v3::HeaderMatcher::kExactMatch:  // an empty one asks for presence
      if (!from.exact_match().empty()) string(Kind::kExact, from.exact_match());
      break;
    case route_v3::HeaderMatcher::kPrefixMatch:
      string(Kind::kPrefix, from.prefix_match());
      break;
    case route_v3::HeaderMatcher::kSuffixMatch:
      string(Kind::kSuffix, from.suffix_match());
      break;
    case route_v3::HeaderMatcher::kContainsMatch:
      string(Kind::kContains, from.contains_match());
      break;
    case route_v3::HeaderMatcher::kSafeRegexMatch:
      string(Kind::kSafeRegex, from.safe_regex_match().regex());
      break;
    case route_v3::HeaderMatcher::kStringMatch:
      to.kind = route::HeaderMatch::Kind::kString;
      to.string = string_match(from.string_match());
      break;
    case route_v3::HeaderMatcher::kRangeMatch:
      to.kind = route::HeaderMatch::Kind::kRange;
      to.range_start = from.range_match().start();
      to.range_end = from.range_match().end();
      break;
    case route_v3::HeaderMatcher::kPresentMatch:
      to.present = from.present_match();
      break;
    default:
      break;  // present
  }
  return to;
}

route::RegexRewrite Translator::regex_rewrite(const envoy::type::matcher::v3::RegexMatchAndSubstitute& from) {
  return {from.pattern().regex(), from.substitution()};
}

route::Fraction Translator::fraction(const envoy::type::v3::FractionalPercent& from) {
  route::Fraction to;
  to.numerator = from.numerator();
  switch (from.denominator()) {
    case envoy::type::v3::FractionalPercent::TEN_THOUSAND:
      to.denominator = 10'000;
      break;
    case envoy::type::v3::FractionalPercent::MILLION:
      to.denominator = 1'000'000;
      break;
    default:
      to.denominator = 100;
      break;
  }
  return to;
}

}  // namespace millrace::config
