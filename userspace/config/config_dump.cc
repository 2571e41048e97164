#include "config/config_dump.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver.h>
#include <google/protobuf/util/type_resolver_util.h>
#include <malloc.h>

#include <memory>
#include <unordered_map>

#include "base/assert.h"
#include "base/log.h"
#include "config/api_pool.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace millrace::config {

namespace pb = google::protobuf;
using envoy::config::bootstrap::v3::Bootstrap;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

namespace {

constexpr const char* kTypeUrlPrefix = "type.googleapis.com";
constexpr const char* kRedacted = "[redacted]";
constexpr int kSensitive = 76569463;  // the extension udpa.annotations.sensitive of FieldOptions

// Any within Any within ...: more than the table of supported fields lets through.
constexpr int kDepthMax = 64;

// Blanks sensitive fields, and names types as the JSON printer looks them up.
class Redaction {
 public:
  // sensitive: the field that holds the message is, so that all of it is.
  void message(pb::Message& message, bool sensitive, int depth);

 private:
  void any(pb::Message& any, bool sensitive, int depth);
  void text(pb::Message& message, const pb::FieldDescriptor& field);
  bool is_sensitive(const pb::FieldDescriptor& field);
  std::unordered_map<const pb::FieldDescriptor*, bool> known_;
};

// From the wire form: whether the extension is linked makes no difference.
bool Redaction::is_sensitive(const pb::FieldDescriptor& field) {
  const auto [it, fresh] = known_.emplace(&field, false);
  if (!fresh) return it->second;
  pb::UnknownFieldSet options;
  const std::string bytes = field.options().SerializeAsString();
  if (bytes.empty() || !options.ParseFromString(bytes)) return false;
  for (int i = 0; i < options.field_count(); ++i) {
    const pb::UnknownField& option = options.field(i);
    if (option.number() == kSensitive && option.type() == pb::UnknownField::TYPE_VARINT)
      it->second = option.varint() != 0;
  }
  return it->second;
}

void Redaction::text(pb::Message& message, const pb::FieldDescriptor& field) {
  const pb::Reflection& reflection = *message.GetReflection();
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_STRING) return reflection.ClearField(&message, &field);
  if (!field.is_repeated()) return reflection.SetString(&message, &field, kRedacted);
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    reflection.SetRepeatedString(&message, &field, i, kRedacted);
  }
}

void Redaction::any(pb::Message& any, bool sensitive, int depth) {
  const pb::Reflection& reflection = *any.GetReflection();
  const pb::FieldDescriptor* url = any.GetDescriptor()->FindFieldByName("type_url");
  const pb::FieldDescriptor* value = any.GetDescriptor()->FindFieldByName("value");
  const pb::Descriptor* type = ApiPool::get().find_message_by_url(reflection.GetString(any, url));
  if (type == nullptr) return;
  const std::unique_ptr<pb::Message> content = ApiPool::get().new_message(*type);
  if (!content->ParseFromString(reflection.GetString(any, value))) return;
  message(*content, sensitive, depth + 1);
  reflection.SetString(&any, url, std::string(kTypeUrlPrefix) + "/" + type->full_name());
  reflection.SetString(&any, value, content->SerializeAsString());
}

void Redaction::message(pb::Message& message, bool sensitive, int depth) {
  if (depth > kDepthMax) return;
  if (message.GetDescriptor()->full_name() == "google.protobuf.Any") return any(message, sensitive, depth);
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    const bool blank = sensitive || is_sensitive(*field);
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
      if (blank && !message.GetDescriptor()->options().map_entry()) text(message, *field);
      if (blank && message.GetDescriptor()->options().map_entry() && field->name() == "value") text(message, *field);
    } else if (!field->is_repeated()) {
      this->message(*reflection.MutableMessage(&message, field), blank, depth + 1);
    } else {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        this->message(*reflection.MutableRepeatedMessage(&message, field, i), blank, depth + 1);
      }
    }
  }
}

// A message of the admin API, which has no generated classes here.
class Dump {
 public:
  explicit Dump(const char* name) {
    const pb::Descriptor* type = ApiPool::get().find_message(name);
    MILLRACE_ASSERT(type != nullptr);
    message_ = ApiPool::get().new_message(*type);
  }
  const pb::Message& message() const { return *message_; }

  void set_wire(const char* field, const pb::Message& from) {
    const pb::FieldDescriptor* at = message_->GetDescriptor()->FindFieldByName(field);
    copy(*message_->GetReflection()->MutableMessage(message_.get(), at), from);
  }
  // One more item of a list, whose `resource` is an Any and has its last_updated.
  void add_resource(const char* list, const char* resource, const pb::Message& from, const pb::Timestamp& updated) {
    const pb::FieldDescriptor* at = message_->GetDescriptor()->FindFieldByName(list);
    pb::Message* item = message_->GetReflection()->AddMessage(message_.get(), at);
    const pb::Descriptor* type = item->GetDescriptor();
    pack(*item->GetReflection()->MutableMessage(item, type->FindFieldByName(resource)), from);
    copy(*item->GetReflection()->MutableMessage(item, type->FindFieldByName("last_updated")), updated);
  }
  void add_config(const Dump& config) {
    const pb::FieldDescriptor* at = message_->GetDescriptor()->FindFieldByName("configs");
    pack(*message_->GetReflection()->AddMessage(message_.get(), at), config.message());
  }

 private:
  // Generated and dynamic messages of one type meet in their wire form.
  static void copy(pb::Message& to, const pb::Message& from) {
    const bool parsed = to.ParsePartialFromString(from.SerializePartialAsString());
    MILLRACE_ASSERT(parsed);
  }
  static void pack(pb::Message& any, const pb::Message& from) {
    const pb::Reflection& reflection = *any.GetReflection();
    const pb::Descriptor& type = *any.GetDescriptor();
    reflection.SetString(&any, type.FindFieldByName("type_url"),
                         std::string(kTypeUrlPrefix) + "/" + from.GetDescriptor()->full_name());
    reflection.SetString(&any, type.FindFieldByName("value"), from.SerializePartialAsString());
  }

  std::unique_ptr<pb::Message> message_;
};

std::string to_json(const pb::Message& message) {
  const std::unique_ptr<pb::util::TypeResolver> types(
      pb::util::NewTypeResolverForDescriptorPool(kTypeUrlPrefix, &ApiPool::get().pool()));
  pb::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = true;
  std::string json;
  const auto status = pb::util::BinaryToJsonString(
      types.get(), std::string(kTypeUrlPrefix) + "/" + message.GetDescriptor()->full_name(),
      message.SerializePartialAsString(), &json, options);
  if (!status.ok()) MILLRACE_LOG(kError, "config", "config_dump: {}", status.ToString());
  return json;
}

std::string dump(Bootstrap& bootstrap, const pb::Timestamp& updated) {
  Redaction().message(bootstrap, false, 0);
  Dump boot("envoy.admin.v3.BootstrapConfigDump");
  boot.set_wire("bootstrap", bootstrap);
  boot.set_wire("last_updated", updated);
  Dump clusters("envoy.admin.v3.ClustersConfigDump");
  for (const auto& cluster : bootstrap.static_resources().clusters()) {
    clusters.add_resource("static_clusters", "cluster", cluster, updated);
  }
  Dump listeners("envoy.admin.v3.ListenersConfigDump");
  Dump routes("envoy.admin.v3.RoutesConfigDump");
  for (const auto& listener : bootstrap.static_resources().listeners()) {
    listeners.add_resource("static_listeners", "listener", listener, updated);
    const auto add_routes = [&](const auto& chain) {
      for (const auto& filter : chain.filters()) {
        HttpConnectionManager manager;
        if (!filter.typed_config().template Is<HttpConnectionManager>() || !filter.typed_config().UnpackTo(&manager))
          continue;
        routes.add_resource("static_route_configs", "route_config", manager.route_config(), updated);
      }
    };
    for (const auto& chain : listener.filter_chains()) add_routes(chain);
    if (listener.has_default_filter_chain()) add_routes(listener.default_filter_chain());
  }
  Dump all("envoy.admin.v3.ConfigDump");
  for (const Dump* part : {&boot, &clusters, &listeners, &routes}) all.add_config(*part);
  return to_json(all.message());
}

}  // namespace

std::function<std::string()> config_dump(const Bootstrap& bootstrap,
                                         std::chrono::system_clock::time_point last_updated) {
  const auto since_epoch = last_updated.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  pb::Timestamp updated;
  updated.set_seconds(seconds.count());
  updated.set_nanos(
      static_cast<int32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - seconds).count()) *
      1'000'000);
  auto wire = std::make_shared<std::string>(bootstrap.SerializePartialAsString());
  wire->shrink_to_fit();
  return [wire = std::shared_ptr<const std::string>(std::move(wire)), updated] {
    std::string json;
    {
      Bootstrap again;
      const bool parsed = again.ParsePartialFromString(*wire);
      MILLRACE_ASSERT(parsed);
      json = dump(again, updated);
    }
    ::malloc_trim(0);  // the messages took several times what the text does
    return json;
  };
}

}  // namespace millrace::config
