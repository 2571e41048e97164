// What the kernel does for this process: programs, services, counts by reason.
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "admin/pages.h"
#include "fastpath/splice_status.h"
#include "fastpath/status.h"

namespace millrace::admin {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const fastpath::Status& status) {
  if (!status.off.empty()) return {{"active", false}, {"off", status.off}};
  Json programs = Json::array(), services = Json::array(), counts = Json::object();
  for (const fastpath::ProgramStatus& program : status.programs) {
    programs.push_back({{"program", program.link.program}, {"place", program.place}, {"link_id", program.link.link_id},
                        {"program_id", program.link.program_id}});
  }
  for (const fastpath::ServiceState& service : status.services) {
    Json endpoints = Json::array();
    for (const net::Address& endpoint : service.endpoints) endpoints.push_back(endpoint.to_string());
    services.push_back({{"address", service.address.to_string()},
                        {"protocol", service.protocol == IPPROTO_UDP ? "udp" : "tcp"},
                        {"generation", service.generation}, {"endpoints", std::move(endpoints)}});
  }
  for (const fastpath::CountStatus& count : status.counts) counts[std::string(count.name)] = count.value;
  return {{"active", true}, {"pin_directory", status.pin_dir}, {"captured_cgroups", status.captured_cgroups},
          {"programs", std::move(programs)}, {"services", std::move(services)}, {"counts", std::move(counts)}};
}

Json to_json(const fastpath::SpliceMember& member) {
  Json to = {{"socket", member.cookie}, {"local", member.local.to_string()}, {"remote", member.remote.to_string()},
             {"dialled", member.active}, {"offered", member.offered}, {"hop_bytes", member.hop_bytes},
             {"joined_bytes", member.joined_bytes}};
  if (member.peer_cookie != 0) to["peer"] = member.peer_cookie;
  if (member.far_cookie != 0) to["joined_with"] = member.far_cookie;
  if (!member.path.empty()) to["last"] = std::string(member.path);
  return to;
}

// The policy, what it measured, and the rule that follows.
Json auto_of(const fastpath::ProvenSplice& proven) {
  if (proven.policy == fastpath::SplicePolicy::kAlways) return {{"policy", "ALWAYS"}};
  const bool fixed = proven.policy == fastpath::SplicePolicy::kFixed;
  Json measured = Json::array();
  for (size_t size = 0; proven.worth.took_us > 0 && size < fastpath::kWorthBytes.size(); ++size) {
    Json row = {{"message_bytes", fastpath::kWorthBytes[size]}};
    for (size_t way = 0; way < fastpath::kSpliceWayNames.size(); ++way) {
      const fastpath::WorthCell& cell = proven.worth.cells[way][size];
      row[fastpath::kSpliceWayNames[way]] = {{"round_trip_us", cell.round_trip_us}, {"one_way_us", cell.one_way_us},
                                             {"busiest_us", cell.stage_us}};
    }
    measured.push_back(std::move(row));
  }
  Json out = {{"policy", fixed ? "FIXED" : "AUTO"}, {"hops", proven.rule.hop}, {"joined", proven.rule.joined},
              {"turns_min", proven.rule.turns_min}, {"turn_bytes_max", proven.rule.turn_bytes_max},
              {"exchange_bytes_max", proven.rule.exchange_bytes_max},
              {"measured_in_us", proven.worth.took_us}, {"measured", std::move(measured)}};
  if (!proven.worth.why_not.empty()) out["not_measured"] = proven.worth.why_not;
  return out;
}

Json to_json(const fastpath::ProvenSplice& proven) {
  Json probes = Json::array();
  for (const fastpath::Probe& probe : proven.report.probes) {
    if (probe.verdict == fastpath::ProbeVerdict::kPassed) continue;
    probes.push_back({{"probe", probe.name}, {"verdict", std::string(name(probe.verdict))},
                      {"sentence", probe.sentence}});
  }
  Json out = {{"active", proven.splice.has_value()}};
  if (!proven.splice) out["off"] = proven.off;
  constexpr fastpath::SplicePieces kNone{false, false, false, false};
  const fastpath::SplicePieces pieces = proven.splice ? proven.report.pieces : kNone;
  out["pieces"] = {{"hop_v4", pieces.hop_v4}, {"hop_v6", pieces.hop_v6}, {"joined_v4", pieces.joined_v4},
                   {"joined_v6", pieces.joined_v6}};
  out["probes_not_passed"] = std::move(probes);
  if (!proven.splice) return out;
  out["auto"] = auto_of(proven);
  Json counts = Json::object(), members = Json::array();
  for (const fastpath::SpliceCount& count : proven.splice->counts()) {
    if (count.messages == 0) continue;
    counts[std::string(count.name)] = {{"messages", count.messages}, {"bytes", count.bytes}};
  }
  size_t joined = 0, hops = 0;  // ends
  for (const fastpath::SpliceMember& member : proven.splice->members()) {
    if (member.offered) ++(member.far_cookie != 0 ? joined : hops);
    members.push_back(to_json(member));
  }
  out["counts"] = std::move(counts);
  out["joined_pairs"] = joined / 2;
  out["hops"] = hops / 2;
  out["members"] = std::move(members);
  return out;
}

}  // namespace

Response answer_fastpath(const Request& request, AdminContext& context) {
  const fastpath::Status status =
      context.fast_path ? context.fast_path() : fastpath::status_off("this process has none");
  const fastpath::ProvenSplice* proven = context.short_circuit ? context.short_circuit() : nullptr;
  if (request.query.value("format") == "json") {
    Json page = to_json(status);
    if (proven != nullptr) page["short_circuit"] = to_json(*proven);
    return Response::json(page.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  return Response::make(200, fastpath::to_text(status) + (proven != nullptr ? fastpath::to_text(*proven) : ""));
}

}  // namespace millrace::admin
