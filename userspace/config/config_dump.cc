#include "config/config_dump.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/field_mask_util.h>
#include <malloc.h>
#include <re2/re2.h>

#include <map>
#include <vector>

#include "base/assert.h"
#include "config/api_pool.h"
#include "config/wire_json.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace millrace::config {

namespace pb = google::protobuf;
using envoy::config::bootstrap::v3::Bootstrap;
using envoy::config::listener::v3::Filter;
using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

namespace {

constexpr std::string_view kAny = "google.protobuf.Any";
constexpr const char* kBootstrap = "envoy.config.bootstrap.v3.Bootstrap";

const pb::Descriptor& type_of(const std::string& name) {
  const pb::Descriptor* type = ApiPool::get().find_message(name);
  MILLRACE_ASSERT(type != nullptr);
  return *type;
}

std::string packed(const std::string& type, std::string_view value) {
  std::string any;
  append_wire(any, 1, std::string(kTypeUrlPrefix) + "/" + type);
  append_wire(any, 2, value);
  return any;
}

base::Error bad_request(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kDownstream, 0, std::move(what)};
}

// A google.protobuf.FieldMask, applied to messages in their wire form.
class Mask {
 public:
  explicit Mask(const std::string& text) {
    pb::util::FieldMaskUtil::FromString(text, &mask_);
    for (const std::string& path : mask_.paths()) tree_.add(path);
  }

  std::string to_string() const { return mask_.DebugString(); }
  // Whether every path leads somewhere. Within the Any of a resource: to a field of what it holds.
  bool fits(const pb::Descriptor& type, const pb::Descriptor* in_any) const {
    for (const std::string& path : mask_.paths()) {
      const pb::Descriptor* within = &type;
      std::string rest = path;
      const size_t dot = path.find('.');
      if (dot != std::string::npos && in_any != nullptr && is_any(type.FindFieldByName(path.substr(0, dot)))) {
        within = in_any;
        rest = path.substr(dot + 1);
      }
      if (!pb::util::FieldMaskUtil::GetFieldDescriptors(within, rest, nullptr)) return false;
    }
    return true;
  }
  std::string trimmed(const pb::Descriptor& type, std::string_view wire) const {
    return tree_.empty() ? std::string(wire) : tree_.trimmed(type, wire);
  }

 private:
  class Tree {
   public:
    bool empty() const { return children_.empty(); }
    void add(std::string_view path) {
      const size_t dot = path.find('.');
      const auto [child, fresh] = children_.try_emplace(std::string(path.substr(0, dot)));
      if (dot == std::string_view::npos) {
        child->second.children_.clear();
      } else if (fresh || !child->second.empty()) {
        child->second.add(path.substr(dot + 1));
      }
    }
    std::string trimmed(const pb::Descriptor& type, std::string_view wire) const {
      std::string out;
      for (WireField from; next_wire_field(wire, from);) {
        const pb::FieldDescriptor* field = type.FindFieldByNumber(from.number);
        const auto child = field == nullptr ? children_.end() : children_.find(field->name());
        if (child == children_.end()) continue;
        if (child->second.empty()) {
          out += from.bytes;
        } else if (is_any(field)) {
          append_wire(out, from.number, child->second.trimmed_any(from.value));
        } else {
          append_wire(out, from.number, child->second.trimmed(*field->message_type(), from.value));
        }
      }
      return out;
    }

   private:
    std::string trimmed_any(std::string_view any) const {
      const pb::Descriptor* held = ApiPool::get().find_message_by_url(wire_value(any, 1));
      MILLRACE_ASSERT(held != nullptr);
      return packed(held->full_name(), trimmed(*held, wire_value(any, 2)));
    }
    std::map<std::string, Tree, std::less<>> children_;  // none: all of the field
  };

  static bool is_any(const pb::FieldDescriptor* field) {
    return field != nullptr && field->message_type() != nullptr && field->message_type()->full_name() == kAny;
  }

  pb::FieldMask mask_;
  Tree tree_;
};

// A message of the dump: one field that is the bootstrap, or a list of resources.
struct Part {
  std::string type;      // within envoy.admin.v3
  std::string field;     // the list, or the bootstrap
  std::string resource;  // the field of an item that holds the resource, as an Any
  std::string resource_type;
  std::vector<std::string_view> (*find)(std::string_view bootstrap);

  const pb::Descriptor& descriptor() const { return type_of("envoy.admin.v3." + type); }
  bool is_list() const { return !resource.empty(); }
};

std::vector<std::string_view> find_clusters(std::string_view bootstrap) {
  return wire_values(bootstrap,
                     {Bootstrap::kStaticResourcesFieldNumber, Bootstrap::StaticResources::kClustersFieldNumber});
}
std::vector<std::string_view> find_listeners(std::string_view bootstrap) {
  return wire_values(bootstrap,
                     {Bootstrap::kStaticResourcesFieldNumber, Bootstrap::StaticResources::kListenersFieldNumber});
}
std::vector<std::string_view> find_routes(std::string_view bootstrap) {
  std::vector<std::string_view> routes;
  for (const std::string_view listener : find_listeners(bootstrap)) {
    for (const int chains : {Listener::kFilterChainsFieldNumber, Listener::kDefaultFilterChainFieldNumber}) {
      for (const std::string_view config :
           wire_values(listener, {chains, FilterChain::kFiltersFieldNumber, Filter::kTypedConfigFieldNumber})) {
        if (ApiPool::get().find_message_by_url(wire_value(config, 1)) != HttpConnectionManager::descriptor()) continue;
        for (const std::string_view route : wire_values(config, {2, HttpConnectionManager::kRouteConfigFieldNumber}))
          routes.push_back(route);
      }
    }
  }
  return routes;
}

const std::vector<Part>& parts() {
  static const std::vector<Part> all = {
      {"BootstrapConfigDump", "bootstrap", "", kBootstrap, nullptr},
      {"ClustersConfigDump", "static_clusters", "cluster", "envoy.config.cluster.v3.Cluster", &find_clusters},
      {"ListenersConfigDump", "static_listeners", "listener", "envoy.config.listener.v3.Listener", &find_listeners},
      {"RoutesConfigDump", "static_route_configs", "route_config", "envoy.config.route.v3.RouteConfiguration",
       &find_routes},
  };
  return all;
}

using Names = std::optional<RE2>;

bool matches(const Names& names, const Part& part, std::string_view resource) {
  if (!names) return true;
  const std::string_view name = wire_value(resource, type_of(part.resource_type).FindFieldByName("name")->number());
  return RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *names);
}

class Writer {
 public:
  Writer(std::string_view bootstrap, std::string_view last_updated, const Names& names)
      : bootstrap_(bootstrap), last_updated_(last_updated), names_(names) {}

  // A message of the part's type.
  std::string whole(const Part& part) const {
    const pb::Descriptor& type = part.descriptor();
    const int field = type.FindFieldByName(part.field)->number();
    std::string out;
    if (part.is_list()) {
      for (const std::string& item : items(part)) append_wire(out, field, item);
      return out;
    }
    append_wire(out, field, bootstrap_);
    append_wire(out, type.FindFieldByName("last_updated")->number(), last_updated_);
    return out;
  }
  std::vector<std::string> items(const Part& part) const {
    const pb::Descriptor& type = *part.descriptor().FindFieldByName(part.field)->message_type();
    const int resource = type.FindFieldByName(part.resource)->number();
    const int updated = type.FindFieldByName("last_updated")->number();
    std::vector<std::string> all;
    for (const std::string_view value : part.find(bootstrap_)) {
      if (!matches(names_, part, value)) continue;
      std::string& item = all.emplace_back();
      append_wire(item, resource, packed(part.resource_type, value));
      append_wire(item, updated, last_updated_);
    }
    return all;
  }

 private:
  const std::string_view bootstrap_, last_updated_;
  const Names& names_;
};

base::Result<std::string> whole_dump(const Writer& writer, const std::optional<Mask>& mask) {
  std::string dump;
  for (const Part& part : parts()) {
    std::string message = writer.whole(part);
    const pb::Descriptor& type = part.descriptor();
    if (mask && !mask->fits(type, nullptr)) continue;
    if (mask) message = mask->trimmed(type, message);
    append_wire(dump, 1, packed(type.full_name(), message));
  }
  if (!dump.empty()) return dump;
  return bad_request(fmt::format("FieldMask {} could not be successfully applied to any configs.", mask->to_string()));
}

base::Result<std::string> resources(const Writer& writer, const std::string& list, const std::optional<Mask>& mask) {
  for (const Part& part : parts()) {
    const pb::FieldDescriptor* field = part.descriptor().FindFieldByName(list);
    if (field == nullptr) continue;
    if (!field->is_repeated()) {
      return bad_request(
          fmt::format("{0} is not a repeated field. Use ?mask={0} to get only this field", field->name()));
    }
    std::string dump;
    if (list != part.field) return dump;  // a list of what is not static: there is none
    const pb::Descriptor& type = *field->message_type();
    if (mask && !mask->fits(type, &type_of(part.resource_type)))
      return bad_request(fmt::format("FieldMask {} could not be successfully used.", mask->to_string()));
    for (const std::string& item : writer.items(part))
      append_wire(dump, 1, packed(type.full_name(), mask ? mask->trimmed(type, item) : item));
    return dump;
  }
  return base::Error{base::ErrorCode::kNotFound, base::Side::kDownstream, 0, list + " not found in config dump"};
}

class DumpText final : public JsonText {
 public:
  explicit DumpText(std::string wire) : json_(type_of("envoy.admin.v3.ConfigDump"), std::move(wire)) {}
  ~DumpText() override { ::malloc_trim(0); }  // the messages took several times what stays
  bool next(std::string& out) override { return json_.next(out); }

 private:
  WireJson json_;
};

}  // namespace

ConfigDump::ConfigDump(const Bootstrap& bootstrap, std::chrono::system_clock::time_point last_updated)
    : bootstrap_(bootstrap.SerializePartialAsString()) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(last_updated.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  pb::Timestamp updated;
  updated.set_seconds(seconds.count());
  updated.set_nanos(static_cast<int32_t>((since_epoch - seconds).count()) * 1'000'000);
  last_updated_ = updated.SerializeAsString();
}

base::Result<std::unique_ptr<JsonText>> ConfigDump::json(const ConfigDumpQuery& query) const {
  Names names;
  if (query.name_regex) {
    RE2::Options quiet;
    quiet.set_log_errors(false);
    names.emplace(*query.name_regex, quiet);
    if (!names->ok())
      return bad_request(fmt::format("Error while parsing name_regex from {}: {}", *query.name_regex, names->error()));
  }
  std::optional<Mask> mask;
  if (query.mask) mask.emplace(*query.mask);
  const Writer writer(bootstrap_, last_updated_, names);
  base::Result<std::string> wire = query.resource ? resources(writer, *query.resource, mask) : whole_dump(writer, mask);
  if (!wire.ok()) return wire.error();
  return std::unique_ptr<JsonText>(std::make_unique<DumpText>(std::move(*wire)));
}

std::string ConfigDump::text() const {
  std::string out;
  const auto json = this->json({});
  MILLRACE_ASSERT(json.ok());
  while ((*json)->next(out)) {
  }
  return out;
}

}  // namespace millrace::config
