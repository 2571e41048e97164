#include "fastpath/status.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>

#include "fastpath/cgroup.h"
#include "fastpath/counters.h"
#include "fastpath/wire.h"

namespace millrace::fastpath {

using base::Result;

namespace {

// Paths below the mount of the cgroups with these ids.
std::map<uint64_t, std::string> cgroup_paths(const std::set<uint64_t>& ids) {
  std::map<uint64_t, std::string> out;
  const Result<std::string> mount = cgroup_mount();
  if (!mount || ids.empty()) return out;
  const auto visit = [&](const std::string& folder) {
    struct stat info;
    if (stat(folder.c_str(), &info) != 0 || ids.count(info.st_ino) == 0) return;
    out[info.st_ino] = folder == *mount ? "/" : folder.substr(mount->size());
  };
  visit(*mount);
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(*mount, error), end;
  for (; !error && at != end; at.increment(error)) {
    if (at->is_directory(error)) visit(at->path().string());
  }
  return out;
}

std::vector<ProgramStatus> read_programs(const PinDir& pins) {
  std::set<uint64_t> ids;
  std::vector<ProgramStatus> out;
  for (LinkState& link : link_states(pins)) {
    if (!link.netns) ids.insert(link.place_id);
    out.push_back({std::move(link), {}});
  }
  const std::map<uint64_t, std::string> paths = cgroup_paths(ids);
  for (ProgramStatus& program : out) {
    const auto path = paths.find(program.link.place_id);
    if (program.link.place_id == 0) program.place = "gone";
    else if (program.link.netns) program.place = fmt::format("netns:[{}]", program.link.place_id);
    else program.place = path == paths.end() ? fmt::format("cgroup {}", program.link.place_id) : path->second;
  }
  return out;
}

std::vector<net::Address> read_endpoints(int slots, const fp_service& service) {
  std::vector<net::Address> out;
  for (uint32_t i = 0; i < service.slot_count; ++i) {
    const uint32_t index = service.first_slot + i;
    fp_slot slot{};
    if (bpf_map_lookup_elem(slots, &index, &slot) == 0) out.push_back(unwired(slot.first));
  }
  return out;
}

std::vector<ServiceState> read_services(const PinDir& pins) {
  std::vector<ServiceState> out;
  const Fd services(bpf_obj_get(pins.map_path("fp_services").c_str()));
  const Fd slots(bpf_obj_get(pins.map_path("fp_slots").c_str()));
  if (!services || !slots) return out;
  fp_endpoint_addr key{};
  for (const fp_endpoint_addr* at = nullptr; bpf_map_get_next_key(services.get(), at, &key) == 0; at = &key) {
    fp_service service{};
    if (bpf_map_lookup_elem(services.get(), &key, &service) != 0) continue;
    out.push_back({unwired(key), key.proto, service.generation, false, read_endpoints(slots.get(), service)});
  }
  std::sort(out.begin(), out.end(), [](const ServiceState& a, const ServiceState& b) {
    return std::pair(a.address.to_string(), a.protocol) < std::pair(b.address.to_string(), b.protocol);
  });
  return out;
}

std::vector<CountStatus> read_counts(const PinDir& pins) {
  std::vector<CountStatus> out;
  const Result<Counters> counters = Counters::open(pins);
  if (!counters) return out;
  const Counts counts = counters->read();
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) out.push_back({reasons()[i].name, reasons()[i].text, counts[i]});
  }
  return out;
}

}  // namespace

Status status_off(std::string why) {
  Status out;
  out.off = std::move(why);
  return out;
}

Result<Status> read_status(std::string_view pin_dir) {
  Result<PinDir> pins = PinDir::look(pin_dir);
  if (!pins) return pins.error();
  Status out;
  out.pin_dir = pin_dir;
  out.daemon = pins->held();
  out.programs = read_programs(*pins);
  for (const ProgramStatus& program : out.programs) {
    if (program.link.program == "connect4") out.captured_cgroups.push_back(program.place);
  }
  out.services = read_services(*pins);
  out.counts = read_counts(*pins);
  return out;
}

std::string to_text(const Status& status) {
  if (!status.off.empty()) return fmt::format("fast path: off: {}\n", status.off);
  std::string out = fmt::format("fast path: {}, {}\n", status.pin_dir, status.daemon ? "daemon alive" : "no daemon");
  for (const std::string& cgroup : status.captured_cgroups) out += fmt::format("cgroup {}\n", cgroup);
  for (const ProgramStatus& program : status.programs) {
    out += fmt::format("program {} link {} program id {} at {}\n", program.link.program, program.link.link_id,
                       program.link.program_id, program.place);
  }
  for (const ServiceState& service : status.services) {
    out += fmt::format("service {} {} generation {}\n", service.protocol == IPPROTO_TCP ? "tcp" : "udp",
                       service.address.to_string(), service.generation);
    for (const net::Address& endpoint : service.endpoints) out += fmt::format("  endpoint {}\n", endpoint.to_string());
  }
  for (const CountStatus& count : status.counts) {
    out += fmt::format("{} {}  ({})\n", count.name, count.value, count.text);
  }
  return out;
}

}  // namespace millrace::fastpath
