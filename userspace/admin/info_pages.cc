// What the server is: state, version, memory, listeners, configuration.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <malloc.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "admin/json.h"
#include "admin/pages.h"
#include "base/memory.h"

namespace millrace::admin {
namespace {

using Json = nlohmann::ordered_json;

std::string_view state_name(ServerState state) {
  switch (state) {
    case ServerState::kLive: return "LIVE";
    case ServerState::kDraining: return "DRAINING";
    case ServerState::kPreInitializing: return "PRE_INITIALIZING";
    case ServerState::kInitializing: return "INITIALIZING";
  }
  return "LIVE";
}

ServerState state_of(const AdminContext& context) {
  return context.state ? context.state() : ServerState::kPreInitializing;
}

// A configured string may hold any bytes; what is not UTF-8 becomes U+FFFD.
std::string pretty(const Json& json) { return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json node_json(const NodeFacts& node) {
  Json json{{"id", node.id}, {"cluster", node.cluster}};
  if (!node.metadata_json.empty()) {
    Json metadata = Json::parse(node.metadata_json, nullptr, false);
    if (metadata.is_object()) json["metadata"] = std::move(metadata);
  }
  if (!node.region.empty() || !node.zone.empty() || !node.sub_zone.empty())
    json["locality"] = {{"region", node.region}, {"zone", node.zone}, {"sub_zone", node.sub_zone}};
  json["user_agent_name"] = node.user_agent_name;
  return json;
}

std::string timestamp(base::SystemTime time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", std::chrono::floor<base::seconds>(time));
}

// admin.v3.CertificateDetails
Json certificate_json(const tls::CertificateDetails& from, base::SystemTime now) {
  Json names = Json::array();
  for (const std::string& name : from.dns_sans) names.push_back({{"dns", name}});
  for (const std::string& name : from.uri_sans) names.push_back({{"uri", name}});
  for (const std::string& name : from.ip_sans) names.push_back({{"ip_address", name}});
  Json json{{"path", from.path},
            {"serial_number", from.serial_number},
            {"subject_alt_names", std::move(names)},
            {"days_until_expiration", std::to_string(from.days_until_expiration(now))},
            {"valid_from", timestamp(from.valid_from)},
            {"expiration_time", timestamp(from.expiration_time)}};
  if (from.ocsp) {
    json["ocsp_details"]["valid_from"] = timestamp(from.ocsp->valid_from);
    if (from.ocsp->expiration) json["ocsp_details"]["expiration"] = timestamp(*from.ocsp->expiration);
  }
  return json;
}

}  // namespace

Response answer_ready(const Request&, AdminContext& context) {
  const ServerState state = state_of(context);
  return Response::make(state == ServerState::kLive ? 200 : 503, fmt::format("{}\n", state_name(state)));
}

Response answer_server_info(const Request&, AdminContext& context) {
  const ServerFacts facts = context.facts ? context.facts() : ServerFacts{};
  Json options = Json::object();
  for (const auto& [name, value] : facts.command_line_options)
    std::visit([&options, &name = name](const auto& v) { options[name] = v; }, value);
  return Response::json(pretty({
      {"version", facts.version},
      {"state", state_name(state_of(context))},
      {"hot_restart_version", "disabled"},
      {"uptime_current_epoch", fmt::format("{}s", facts.uptime_current_epoch.count())},
      {"uptime_all_epochs", fmt::format("{}s", facts.uptime_all_epochs.count())},
      {"command_line_options", std::move(options)},
      {"node", node_json(facts.node)},
  }));
}

Response answer_memory(const Request&, AdminContext&) {
  // glibc's arenas in the words of tcmalloc that admin.v3.Memory uses; 64-bit numbers are strings in protobuf's JSON.
  const struct mallinfo2 info = mallinfo2();
  const auto text = [](uint64_t bytes) { return std::to_string(bytes); };
  return Response::json(pretty({
      {"allocated", text(info.uordblks + info.hblkhd)},
      {"heap_size", text(info.arena + info.hblkhd)},
      {"pageheap_unmapped", "0"},
      {"pageheap_free", text(info.fordblks)},
      {"total_thread_cache", text(info.fsmblks)},
      {"total_physical_bytes", text(base::resident_bytes())},
  }));
}

Response answer_listeners(const Request& request, AdminContext& context) {
  const std::vector<ListenerStatus> listeners =
      context.listeners ? context.listeners() : std::vector<ListenerStatus>{};
  if (request.query.value("format") != "json") {
    std::string out;
    for (const ListenerStatus& listener : listeners) {
      for (const net::Address& address : listener.addresses)
        fmt::format_to(std::back_inserter(out), "{}::{}\n", listener.name, address.to_string());
    }
    return Response::make(200, std::move(out));
  }
  Json statuses = Json::array();
  for (const ListenerStatus& listener : listeners) {
    Json status{{"name", listener.name}};
    for (size_t i = 0; i < listener.addresses.size(); ++i) {
      Json address = Json::parse(address_json(listener.addresses[i]), nullptr, false);
      if (i == 0) {
        status["local_address"] = std::move(address);
      } else {
        status["additional_local_addresses"].push_back(std::move(address));
      }
    }
    statuses.push_back(std::move(status));
  }
  return Response::json(pretty({{"listener_statuses", std::move(statuses)}}));
}

Response answer_runtime(const Request&, AdminContext& context) {
  const std::vector<RuntimeLayer> layers = context.runtime ? context.runtime() : std::vector<RuntimeLayer>{};
  Json names = Json::array();
  nlohmann::json entries = nlohmann::json::object();  // by key
  for (size_t i = 0; i < layers.size(); ++i) {
    names.push_back(layers[i].name);
    for (const auto& [key, value] : layers[i].values) {
      nlohmann::json& entry = entries[key];
      if (entry.is_null()) entry = {{"final_value", ""}, {"layer_values", std::vector<std::string>(layers.size())}};
      entry["layer_values"][i] = value;
      if (!value.empty()) entry["final_value"] = value;
    }
  }
  return Response::json(pretty({{"layers", std::move(names)}, {"entries", std::move(entries)}}));
}

Response answer_certs(const Request&, AdminContext& context) {
  const base::SystemTime now = std::chrono::system_clock::now();
  Json all = Json::array();
  std::vector<CertificateStatus> contexts;
  if (context.certificates) contexts = context.certificates();
  for (const CertificateStatus& one : contexts) {
    Json authorities = Json::array(), chains = Json::array();
    if (one.authority) authorities.push_back(certificate_json(*one.authority, now));
    for (const tls::CertificateDetails& chain : one.chains) chains.push_back(certificate_json(chain, now));
    all.push_back({{"ca_cert", std::move(authorities)}, {"cert_chain", std::move(chains)}});
  }
  return Response::json(pretty({{"certificates", std::move(all)}}));
}

Response answer_config_dump(const Request& request, AdminContext& context) {
  if (!context.config_dump) return Response::make(501, "There is no configuration to show.\n");
  const Query& query = request.query;
  base::Result<std::unique_ptr<Body>> dump = context.config_dump(
      {query.value("resource"), query.value("mask"), query.value("name_regex"), query.has("include_eds")});
  if (!dump.ok()) {
    const base::ErrorCode code = dump.error().code;
    const bool asked_badly = code == base::ErrorCode::kInvalidArgument;
    return Response::make(asked_badly ? 400 : code == base::ErrorCode::kNotFound ? 404 : 500,
                          dump.error().what + "\n");
  }
  Response response;
  response.content_type = kJsonType;
  response.body = std::move(*dump);
  return response;
}

Response answer_hot_restart_version(const Request&, AdminContext&) { return Response::make(200, "disabled"); }

}  // namespace millrace::admin
