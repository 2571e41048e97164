#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "config/translator.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/type/v3/percent.pb.h"

namespace millrace::config {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// A struct with one of these keys is a FractionalPercent; any other is a level of names.
bool is_fraction(const Struct& from) {
  return from.fields().contains("numerator") || from.fields().contains("denominator");
}

std::string text_of(const Value& from) {
  switch (from.kind_case()) {
    case Value::kNumberValue:
      return fmt::format("{}", from.number_value());
    case Value::kBoolValue:
      return from.bool_value() ? "true" : "false";
    case Value::kStringValue:
      return from.string_value();
    default: {
      std::string json;
      return google::protobuf::util::MessageToJsonString(from, &json).ok() ? json : std::string();
    }
  }
}

uint32_t bounded(double number) {
  return number >= static_cast<double>(UINT32_MAX) ? UINT32_MAX : static_cast<uint32_t>(number);
}

}  // namespace

void Translator::runtime(const bootstrap_v3::LayeredRuntime& from, Snapshot& to) {
  std::set<std::string_view> names;
  for (int i = 0; i < from.layers_size(); ++i) {
    const bootstrap_v3::RuntimeLayer& layer = from.layers(i);
    const std::string at = fmt::format("layered_runtime.layers[{}]", i);
    if (!names.insert(layer.name()).second) error(at + ".name", fmt::format("layer '{}' is there twice", layer.name()));
    RuntimeLayer out;
    out.name = layer.name();
    if (layer.has_static_layer()) runtime_layer(layer.static_layer(), {}, at + ".static_layer", out);
    std::sort(out.values.begin(), out.values.end());
    to.runtime_layers.push_back(std::move(out));
  }
}

void Translator::runtime_layer(const Struct& from, const std::string& prefix, Path path, RuntimeLayer& to) {
  for (const auto& [name, value] : from.fields()) {
    const std::string key = prefix + name;
    const std::string at = fmt::format("{}[\"{}\"]", path, name);
    switch (value.kind_case()) {
      case Value::kStructValue:
        if (!is_fraction(value.struct_value())) {
          runtime_layer(value.struct_value(), key + ".", at, to);
          continue;
        }
        break;
      case Value::kNumberValue:
      case Value::kBoolValue:
      case Value::kStringValue:
        break;
      default:
        error(at, "a runtime value is a number, a string, true, false or a fraction");
        continue;
    }
    runtime_[key] = {&value, at};  // a later layer replaces an earlier one
    to.values.emplace_back(key, text_of(value));
  }
}

void Translator::note_unread_runtime_keys() {
  for (const auto& [key, entry] : runtime_) {
    if (!entry.read) ignored_.push_back({entry.path, fmt::format("nothing reads the runtime key {}", key)});
  }
}

const Value* Translator::runtime_value(std::string_view key) {
  const auto it = key.empty() ? runtime_.end() : runtime_.find(key);
  if (it == runtime_.end()) return nullptr;
  it->second.read = true;
  return it->second.value;
}

std::optional<double> Translator::runtime_number(std::string_view key) {
  const Value* value = runtime_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->kind_case() == Value::kNumberValue) return value->number_value();
  if (value->kind_case() != Value::kStringValue || value->string_value().empty()) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(value->string_value().c_str(), &end);
  if (*end != '\0' || !std::isfinite(number)) return std::nullopt;
  return number;
}

// What is not a whole number of at least 0 does not replace the configured value, as in Envoy.
std::optional<uint32_t> Translator::runtime_integer(std::string_view key) {
  const std::optional<double> number = runtime_number(key);
  if (!number || *number < 0 || *number != std::floor(*number)) return std::nullopt;
  return bounded(*number);
}

route::Fraction Translator::fraction(const envoy::type::v3::FractionalPercent& from, std::string_view runtime_key) {
  if (const std::optional<uint32_t> percent = runtime_integer(runtime_key)) return {std::min(*percent, 100u), 100};
  const Value* value = runtime_value(runtime_key);
  if (value == nullptr || value->kind_case() != Value::kStructValue) return fraction(from);
  envoy::type::v3::FractionalPercent given;
  const auto& fields = value->struct_value().fields();
  if (const auto it = fields.find("numerator"); it != fields.end()) {
    given.set_numerator(bounded(std::max(it->second.number_value(), 0.0)));
  }
  if (const auto it = fields.find("denominator"); it != fields.end()) {
    envoy::type::v3::FractionalPercent::DenominatorType denominator;
    if (envoy::type::v3::FractionalPercent::DenominatorType_Parse(it->second.string_value(), &denominator)) {
      given.set_denominator(denominator);
    }
  }
  return fraction(given);
}

}  // namespace millrace::config
