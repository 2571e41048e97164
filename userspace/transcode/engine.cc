#include "transcode/engine.h"

#include <fmt/format.h>
#include <google/api/annotations.pb.h>
#include <google/protobuf/descriptor.h>

#include "transcode/method.h"

namespace millrace::transcode {

namespace pb = google::protobuf;

namespace {

constexpr std::string_view kHttpBody = "google.api.HttpBody";

base::Error invalid(std::string what) {
  return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0, std::move(what)};
}

bool is_http_body(const pb::Descriptor* type) { return type != nullptr && type->full_name() == kHttpBody; }

// The HTTP method and the path of a rule.
std::pair<std::string, std::string> pattern_of(const google::api::HttpRule& rule) {
  switch (rule.pattern_case()) {
    case google::api::HttpRule::kGet: return {"GET", rule.get()};
    case google::api::HttpRule::kPut: return {"PUT", rule.put()};
    case google::api::HttpRule::kPost: return {"POST", rule.post()};
    case google::api::HttpRule::kDelete: return {"DELETE", rule.delete_()};
    case google::api::HttpRule::kPatch: return {"PATCH", rule.patch()};
    case google::api::HttpRule::kCustom: return {rule.custom().kind(), rule.custom().path()};
    default: return {};
  }
}

class Engine final : public filter::JsonTranscoding {
 public:
  explicit Engine(EngineOptions options)
      : core_{std::move(options), nullptr, {}, {}},
        paths_(core_.options.url_unescape, core_.options.match_unregistered_custom_verb) {}

  base::Result<void> load() {
    auto messages = Messages::load(core_.options.descriptor_set, core_.options.json);
    if (!messages.ok()) return std::move(messages).error();
    core_.messages = *std::move(messages);
    std::string().swap(core_.options.descriptor_set);
    core_.ignored_parameters.insert(core_.options.ignored_query_parameters.begin(),
                                    core_.options.ignored_query_parameters.end());
    for (const std::string& name : core_.options.services) {
      const pb::ServiceDescriptor* service = core_.messages->find_service(name);
      if (service == nullptr) return invalid(fmt::format("the descriptor set has no service '{}'", name));
      for (int i = 0; i < service->method_count(); ++i) {
        if (auto ok = add_method(*service->method(i)); !ok) {
          return invalid(fmt::format("{}: {}", service->method(i)->full_name(), ok.error().what));
        }
      }
    }
    return {};
  }

  Match match(std::string_view method, std::string_view target, std::string_view content_type) const override;

 private:
  base::Result<void> add_method(const pb::MethodDescriptor& method) {
    if (method.options().HasExtension(google::api::http)) {
      const google::api::HttpRule& rule = method.options().GetExtension(google::api::http);
      if (auto ok = add_rule(method, rule); !ok) return ok;
      for (const google::api::HttpRule& more : rule.additional_bindings()) {
        if (auto ok = add_rule(method, more); !ok) return ok;
      }
      return {};
    }
    if (!core_.options.auto_mapping) return {};
    google::api::HttpRule rule;
    rule.set_post(fmt::format("/{}/{}", method.service()->full_name(), method.name()));
    rule.set_body("*");
    return add_rule(method, rule);
  }

  base::Result<void> add_rule(const pb::MethodDescriptor& method, const google::api::HttpRule& rule) {
    const auto [kind, text] = pattern_of(rule);
    auto path = PathTemplate::parse(text);
    if (!path.ok()) return std::move(path).error();
    for (const PathTemplate::Variable& variable : path->variables) {
      const FieldPath field = resolve_field(*method.input_type(), variable.field);
      if (field.empty() || field.back()->is_repeated() || !takes_text(*field.back())) {
        return invalid(fmt::format("'{}' of the path {} is no field that a path can set", variable.field, text));
      }
    }
    Method out;
    out.descriptor = &method;
    out.grpc_path = fmt::format("/{}/{}", method.service()->full_name(), method.name());
    out.raw_response = is_http_body(method.output_type());
    if (rule.body() == "*") {
      out.body = Body::kWhole;
      out.raw_request = is_http_body(method.input_type());
    } else if (!rule.body().empty()) {
      out.body = Body::kField;
      const FieldPath field = resolve_field(*method.input_type(), rule.body());
      if (field.size() != 1) return invalid(fmt::format("the body '{}' is no field of the request", rule.body()));
      out.body_field = field[0];
      out.raw_request = !field[0]->is_repeated() && is_http_body(field[0]->message_type());
    }
    if (!rule.response_body().empty()) {
      const FieldPath field = resolve_field(*method.output_type(), rule.response_body());
      if (field.size() != 1) {
        return invalid(fmt::format("the response_body '{}' is no field of the response", rule.response_body()));
      }
      out.response_field = field[0];
      out.raw_response = !field[0]->is_repeated() && is_http_body(field[0]->message_type());
    }
    if (auto ok = paths_.add(kind, *std::move(path), static_cast<uint32_t>(core_.methods.size())); !ok) return ok;
    core_.methods.push_back(std::move(out));
    return {};
  }

  // False: the parameter is none of the method's, and matters.
  bool bind_parameter(const Method& method, std::string_view parameter, Bindings& bindings) const {
    const bool plus = core_.options.query_param_unescape_plus;
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string name = url_decoded(parameter.substr(0, equals), UrlUnescape::kAll, plus);
    if (name.empty() || core_.ignored_parameters.contains(name)) return true;
    FieldPath field = resolve_field(*method.descriptor->input_type(), name);
    if (field.empty() || !takes_text(*field.back())) return core_.options.ignore_unknown_query_parameters;
    const std::string_view value = equals < parameter.size() ? parameter.substr(equals + 1) : std::string_view{};
    bindings.emplace_back(std::move(field), url_decoded(value, UrlUnescape::kAll, plus));
    return true;
  }

  EngineCore core_;
  PathTable paths_;
};

filter::JsonTranscoding::Match Engine::match(std::string_view method, std::string_view target,
                                             std::string_view content_type) const {
  Match out;
  target = target.substr(0, target.find('#'));
  const std::string_view path = target.substr(0, target.find('?'));
  const std::optional<PathTable::Found> found = paths_.find(method, path);
  if (!found) {
    out.what = fmt::format("Could not resolve {} {} to a method.", method, path);
    return out;
  }
  const Method& called = core_.methods[found->id];
  Bindings bindings;
  std::string_view query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view{};
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (bind_parameter(called, parameter, bindings)) continue;
    out.unknown_parameter = true;
    out.what = fmt::format("Could not find field \"{}\" in the type \"{}\".", parameter.substr(0, parameter.find('=')),
                           called.descriptor->input_type()->full_name());
    return out;
  }
  // After those of the query, so that they win.
  for (const PathBinding& binding : found->bindings) {
    bindings.emplace_back(resolve_field(*called.descriptor->input_type(), binding.field), binding.value);
  }
  out.answer = Answer::kCall;
  out.call = make_call(core_, called, std::move(bindings), content_type);
  return out;
}

}  // namespace

base::Result<std::shared_ptr<const filter::JsonTranscoding>> make_engine(EngineOptions options) {
  auto engine = std::make_shared<Engine>(std::move(options));
  if (auto ok = engine->load(); !ok) return ok.error();
  return std::shared_ptr<const filter::JsonTranscoding>(std::move(engine));
}

}  // namespace millrace::transcode
