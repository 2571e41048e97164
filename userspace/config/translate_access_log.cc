#include "config/translator.h"
#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/config/core/v3/substitution_format_string.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "route/matchers.h"

namespace millrace::config {

namespace file_v3 = envoy::extensions::access_loggers::file::v3;
namespace stream_v3 = envoy::extensions::access_loggers::stream::v3;
namespace lf = stream::log_filter;

namespace {

stream::JsonFormat json_value(const google::protobuf::Value& from);

stream::JsonFormat::Object json_object(const google::protobuf::Struct& from) {
  stream::JsonFormat::Object to;
  for (const auto& [name, value] : from.fields()) to.emplace_back(name, json_value(value));
  return to;
}

stream::JsonFormat json_value(const google::protobuf::Value& from) {
  stream::JsonFormat to;
  switch (from.kind_case()) {
    case google::protobuf::Value::kBoolValue:
      to.value = from.bool_value();
      break;
    case google::protobuf::Value::kNumberValue:
      to.value = from.number_value();
      break;
    case google::protobuf::Value::kStringValue:
      to.value = from.string_value();
      break;
    case google::protobuf::Value::kStructValue:
      to.value = json_object(from.struct_value());
      break;
    case google::protobuf::Value::kListValue: {
      stream::JsonFormat::Array array;
      for (const auto& item : from.list_value().values()) array.push_back(json_value(item));
      to.value = std::move(array);
      break;
    }
    default:
      to.value = nullptr;
      break;
  }
  return to;
}

lf::Comparison comparison(const accesslog_v3::ComparisonFilter& from, std::optional<uint32_t> runtime_value) {
  lf::Comparison to;
  to.value = runtime_value.value_or(from.value().default_value());
  switch (from.op()) {
    case accesslog_v3::ComparisonFilter::GE:
      to.op = lf::Op::kGreaterOrEqual;
      break;
    case accesslog_v3::ComparisonFilter::LE:
      to.op = lf::Op::kLessOrEqual;
      break;
    case accesslog_v3::ComparisonFilter::NE:
      to.op = lf::Op::kNotEqual;
      break;
    default:
      to.op = lf::Op::kEqual;
      break;
  }
  return to;
}

}  // namespace

void Translator::substitution_format(const core_v3::SubstitutionFormatString& from, stream::AccessLogOptions& to,
                                     Path path) {
  to.omit_empty_values = from.omit_empty_values();
  if (from.has_json_format_options()) to.sort_properties = from.json_format_options().sort_properties();
  switch (from.format_case()) {
    case core_v3::SubstitutionFormatString::kTextFormat:
      to.format = from.text_format();
      break;
    case core_v3::SubstitutionFormatString::kTextFormatSource:
      to.format = data_source(from.text_format_source(), path + ".text_format_source");
      break;
    case core_v3::SubstitutionFormatString::kJsonFormat:
      to.format = json_object(from.json_format());
      break;
    default:
      break;
  }
}

std::optional<stream::AccessLogFilterOptions> Translator::access_log_filter(const accesslog_v3::AccessLogFilter& from,
                                                                            Path path) {
  using Filter = accesslog_v3::AccessLogFilter;
  const auto compare = [this](const accesslog_v3::ComparisonFilter& source) {
    return comparison(source, runtime_integer(source.value().runtime_key()));
  };
  switch (from.filter_specifier_case()) {
    case Filter::kStatusCodeFilter:
      return {{lf::StatusCode{compare(from.status_code_filter().comparison())}}};
    case Filter::kDurationFilter:
      return {{lf::DurationMs{compare(from.duration_filter().comparison())}}};
    case Filter::kNotHealthCheckFilter:
      return {{lf::NotHealthCheck{}}};
    case Filter::kTraceableFilter:
      return {{lf::Traceable{}}};
    case Filter::kRuntimeFilter: {
      const route::Fraction f = fraction(from.runtime_filter().percent_sampled(), from.runtime_filter().runtime_key());
      return {{lf::Fraction{f.numerator, f.denominator, from.runtime_filter().use_independent_randomness()}}};
    }
    case Filter::kHeaderFilter: {
      auto matcher = route::HeaderMatcher::compile(header_match(from.header_filter().header()));
      if (!matcher.ok()) {
        error(path + ".header_filter.header", matcher.error().what);
        return std::nullopt;
      }
      auto shared = std::make_shared<route::HeaderMatcher>(std::move(*matcher));
      return {{lf::RequestHeaders{[shared](const http::HeaderMap& headers) { return shared->matches(headers); }}}};
    }
    case Filter::kResponseFlagFilter: {
      const auto& flags = from.response_flag_filter().flags();
      return {{lf::Flags{{flags.begin(), flags.end()}}}};
    }
    case Filter::kGrpcStatusFilter: {
      lf::GrpcStatus status;
      status.exclude = from.grpc_status_filter().exclude();
      for (int code : from.grpc_status_filter().statuses()) status.statuses.push_back(code);
      return {{std::move(status)}};
    }
    case Filter::kLogTypeFilter: {
      lf::LogType to;
      to.exclude = from.log_type_filter().exclude();
      // The enumerators are those of the API, in its order.
      for (int type : from.log_type_filter().types()) to.types.push_back(static_cast<stream::AccessLogType>(type));
      return {{std::move(to)}};
    }
    case Filter::kAndFilter:
    case Filter::kOrFilter: {
      const bool is_and = from.filter_specifier_case() == Filter::kAndFilter;
      const auto& parts = is_and ? from.and_filter().filters() : from.or_filter().filters();
      std::vector<stream::AccessLogFilterOptions> filters;
      for (int i = 0; i < parts.size(); ++i) {
        auto part =
            access_log_filter(parts[i], fmt::format("{}.{}.filters[{}]", path, is_and ? "and_filter" : "or_filter", i));
        if (part) filters.push_back(std::move(*part));
      }
      if (is_and) return {{lf::And{std::move(filters)}}};
      return {{lf::Or{std::move(filters)}}};
    }
    default:
      return std::nullopt;  // the table of supported fields has said so
  }
}

std::optional<stream::AccessLog> Translator::access_log(const accesslog_v3::AccessLog& from, Path path) {
  stream::AccessLogOptions options;
  const std::string at = path + ".typed_config";
  if (from.typed_config().Is<file_v3::FileAccessLog>()) {
    file_v3::FileAccessLog file;
    if (!unpack(from.typed_config(), file, at)) return std::nullopt;
    options.path = file.path();
    switch (file.access_log_format_case()) {
      case file_v3::FileAccessLog::kFormat:
        options.format = file.format();
        break;
      case file_v3::FileAccessLog::kJsonFormat:
        options.format = json_object(file.json_format());
        break;
      case file_v3::FileAccessLog::kTypedJsonFormat:
        options.format = json_object(file.typed_json_format());
        break;
      case file_v3::FileAccessLog::kLogFormat:
        substitution_format(file.log_format(), options, at + ".log_format");
        break;
      default:
        break;
    }
  } else if (from.typed_config().Is<stream_v3::StdoutAccessLog>()) {
    stream_v3::StdoutAccessLog log;
    if (!unpack(from.typed_config(), log, at)) return std::nullopt;
    options.sink = stream::AccessLogOptions::Sink::kStdout;
    substitution_format(log.log_format(), options, at + ".log_format");
  } else if (from.typed_config().Is<stream_v3::StderrAccessLog>()) {
    stream_v3::StderrAccessLog log;
    if (!unpack(from.typed_config(), log, at)) return std::nullopt;
    options.sink = stream::AccessLogOptions::Sink::kStderr;
    substitution_format(log.log_format(), options, at + ".log_format");
  } else {
    if (!from.has_typed_config()) {
      error(path, fmt::format("access log '{}' has no typed_config", from.name()),
            "name the logger by its @type, type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
    }
    return std::nullopt;
  }
  if (from.has_filter()) options.filter = access_log_filter(from.filter(), path + ".filter");
  auto compiled = stream::AccessLog::compile(options, context_.access_log_files);
  if (compiled.ok()) return std::move(*compiled);
  error(at, compiled.error().what);
  return std::nullopt;
}

std::vector<stream::AccessLog> Translator::access_logs(
    const google::protobuf::RepeatedPtrField<accesslog_v3::AccessLog>& from, Path path) {
  std::vector<stream::AccessLog> to;
  for (int i = 0; i < from.size(); ++i) {
    if (auto log = access_log(from[i], fmt::format("{}[{}]", path, i))) to.push_back(std::move(*log));
  }
  return to;
}

}  // namespace millrace::config
