// envoy.filters.http.grpc_json_transcoder: its options, and the engine made of its descriptor set.
#include "config/translator.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/filters/http/grpc_json_transcoder/v3/transcoder.pb.h"
#include "filter/grpc_json_transcoder_filter.h"
#include "transcode/engine.h"

namespace millrace::config {

using Transcoder = envoy::extensions::filters::http::grpc_json_transcoder::v3::GrpcJsonTranscoder;

namespace {

transcode::EngineOptions engine_options(const Transcoder& from) {
  transcode::EngineOptions to;
  to.services.assign(from.services().begin(), from.services().end());
  const Transcoder::PrintOptions& print = from.print_options();
  to.json.add_whitespace = print.add_whitespace();
  to.json.always_print_primitive_fields = print.always_print_primitive_fields();
  to.json.always_print_enums_as_ints = print.always_print_enums_as_ints();
  to.json.preserve_proto_field_names = print.preserve_proto_field_names();
  to.json.case_insensitive_enum_parsing = from.case_insensitive_enum_parsing();
  to.stream_newline_delimited = print.stream_newline_delimited();
  to.auto_mapping = from.auto_mapping();
  to.ignored_query_parameters.assign(from.ignored_query_parameters().begin(), from.ignored_query_parameters().end());
  to.ignore_unknown_query_parameters = from.ignore_unknown_query_parameters();
  to.query_param_unescape_plus = from.query_param_unescape_plus();
  switch (from.url_unescape_spec()) {
    case Transcoder::ALL_CHARACTERS_EXCEPT_SLASH:
      to.url_unescape = transcode::UrlUnescape::kAllButSlash;
      break;
    case Transcoder::ALL_CHARACTERS:
      to.url_unescape = transcode::UrlUnescape::kAll;
      break;
    default:
      break;
  }
  to.match_unregistered_custom_verb = from.match_unregistered_custom_verb();
  to.reject_binding_body_field_collisions = from.request_validation_options().reject_binding_body_field_collisions();
  if (from.has_max_request_body_size()) to.stream_message_bytes_max = from.max_request_body_size().value();
  return to;
}

}  // namespace

std::optional<filter::GrpcJsonTranscoderOptions> Translator::json_transcoder(const google::protobuf::Any& any,
                                                                             Path path) {
  Transcoder from;
  if (!unpack(any, from, path)) return std::nullopt;
  filter::GrpcJsonTranscoderOptions to;
  to.match_incoming_request_route = from.match_incoming_request_route();
  to.convert_grpc_status = from.convert_grpc_status();
  to.reject_unknown_method = from.request_validation_options().reject_unknown_method();
  to.reject_unknown_query_parameters = from.request_validation_options().reject_unknown_query_parameters();
  if (from.has_max_request_body_size()) to.request_body_bytes_max = from.max_request_body_size().value();
  if (from.has_max_response_body_size()) to.response_body_bytes_max = from.max_response_body_size().value();
  if (from.services().empty()) return to;  // disabled
  transcode::EngineOptions options = engine_options(from);
  const bool in_file = from.descriptor_set_case() == Transcoder::kProtoDescriptor;
  const std::string at = path + (in_file ? ".proto_descriptor" : ".proto_descriptor_bin");
  if (in_file) {
    core_v3::DataSource file;
    file.set_filename(from.proto_descriptor());
    options.descriptor_set = data_source(file, at);
    if (diagnostics_.has_error_about(at)) return std::nullopt;
  } else {
    options.descriptor_set = from.proto_descriptor_bin();
  }
  auto engine = transcode::make_engine(std::move(options));
  if (!engine.ok()) {
    error(at, engine.error().what, "make it with protoc --include_imports --descriptor_set_out=FILE");
    return std::nullopt;
  }
  to.transcoding = *std::move(engine);
  return to;
}

Translator::FilterConfigPtr Translator::grpc_json_transcoder(const google::protobuf::Any& from, Path path) {
  auto options = json_transcoder(from, path);
  if (!options) return nullptr;
  return std::make_unique<filter::GrpcJsonTranscoderConfig>(*std::move(options));
}

Translator::PerFilterConfigPtr Translator::grpc_json_transcoder_route(const google::protobuf::Any& from, Path path) {
  auto options = json_transcoder(from, path);
  if (!options) return nullptr;
  return std::make_shared<filter::GrpcJsonTranscoderRoute>(*std::move(options));
}

}  // namespace millrace::config
