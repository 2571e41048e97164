// What the kernel does for this process: programs, services, counts by reason.
#include <netinet/in.h>

#include <nlohmann/json.hpp>

#include "admin/pages.h"
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

}  // namespace

Response answer_fastpath(const Request& request, AdminContext& context) {
  const fastpath::Status status =
      context.fast_path ? context.fast_path() : fastpath::status_off("this process has none");
  if (request.query.value("format") == "json") {
    return Response::json(to_json(status).dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  return Response::make(200, fastpath::to_text(status));
}

}  // namespace millrace::admin
