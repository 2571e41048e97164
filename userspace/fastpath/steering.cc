#include "fastpath/steering.h"

#include <fmt/format.h>

#include <algorithm>

#include "fastpath/capture_rules.h"
#include "fastpath/object.h"
#include "fp_steering.h"
#include "skel/connect.skel.h"
#include "skel/datagram.skel.h"
#include "skel/getsockopt.skel.h"
#include "skel/sockops.skel.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

// Links are called steer-<program>-<cgroup id>.
constexpr std::string_view kPrefix = "steer-";

std::string link_prefix(std::string_view program) { return fmt::format("{}{}-", kPrefix, program); }

// A program attached to a cgroup and to one above it would run twice for the lower one: only the outermost are kept.
std::vector<Cgroup> outermost(std::vector<Cgroup> cgroups) {
  std::sort(cgroups.begin(), cgroups.end(),
            [](const Cgroup& a, const Cgroup& b) { return a.path().size() < b.path().size(); });
  std::vector<Cgroup> out;
  for (Cgroup& cgroup : cgroups) {
    if (std::none_of(out.begin(), out.end(), [&](const Cgroup& above) { return above.covers(cgroup); })) {
      out.push_back(std::move(cgroup));
    }
  }
  return out;
}

Result<std::vector<Cgroup>> open_all(const std::vector<std::string>& paths) {
  std::vector<Cgroup> out;
  for (const std::string& path : paths) {
    Result<Cgroup> cgroup = Cgroup::open(path);
    if (!cgroup) return cgroup.error();
    out.push_back(std::move(*cgroup));
  }
  return outermost(std::move(out));
}

Result<Cgroup> daemon_cgroup(const Options& options) {
  return options.daemon_cgroup.empty() ? Cgroup::own() : Cgroup::open(options.daemon_cgroup);
}

// In each place the program's link takes the new program or is made; links of the program in other places go.
Result<void> attach_everywhere(const PinDir& pins, const bpf_program* program, const std::vector<Cgroup>& places) {
  const std::string prefix = link_prefix(bpf_program__name(program));
  std::vector<std::string> kept;
  for (const Cgroup& place : places) {
    kept.push_back(fmt::format("{}{}", prefix, place.id()));
    if (Result<void> done = attach_cgroup(pins, program, place.place(), kept.back()); !done) return done;
  }
  return pins.drop_links_except(prefix, kept);
}

Result<void> drop_programs(const PinDir& pins, std::initializer_list<std::string_view> programs) {
  for (const std::string_view program : programs) {
    if (Result<void> done = pins.drop_links_except(link_prefix(program), {}); !done) return done;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Steering>> Steering::start(const Options& options) {
  Result<PinDir> pins = PinDir::open(options.pin_dir, options.claim);
  if (!pins) return pins.error();
  Result<OwnProcess> own = OwnProcess::enter(*pins);
  if (!own) return own.error();
  std::unique_ptr<Steering> out(new Steering(std::move(*pins), std::move(*own)));
  if (Result<void> applied = out->apply(options); !applied) return applied.error();
  return out;
}

Result<void> Steering::apply(const Options& options) {
  Result<std::vector<Cgroup>> places = open_all(options.cgroups);
  if (!places) return places.error();
  if (Result<void> done = apply_sockops(options, *places); !done) return done;
  if (Result<void> done = apply_getsockopt(options); !done) return done;
  if (Result<void> done = apply_connect(options, *places); !done) return done;
  if (Result<void> done = apply_datagram(options, *places); !done) return done;
  if (Result<void> done = open_services(options); !done) return done;
  if (Result<void> done = drop_old_inbound(options); !done) return done;
  options_ = options;
  return {};
}

Result<void> Steering::apply_connect(const Options& options, const std::vector<Cgroup>& places) {
  if (!options.capture && !options.services) {
    return drop_programs(pins_, {"connect4", "connect6", "getpeername4", "getpeername6"});
  }
  CaptureRules rules;
  if (options.capture) {
    Result<CaptureRules> compiled = CaptureRules::compile(*options.capture);
    if (!compiled) return compiled.error();
    rules = std::move(*compiled);
  }
  Result<Object<connect_bpf>> object = Object<connect_bpf>::open(&pins_);
  if (!object) return object.error();
  connect_bpf& connect = *object->get();
  connect.rodata->capture_settings = rules.settings;
  if (options.services) {
    bpf_map__set_max_entries(connect.maps.fp_services, options.services->services_max);
    bpf_map__set_max_entries(connect.maps.fp_slots, options.services->slots_max);
  }
  if (Result<void> loaded = object->load(); !loaded) return loaded;
  const CaptureMaps maps{bpf_map__fd(connect.maps.fp_capture_ports), bpf_map__fd(connect.maps.fp_capture_cidrs),
                         bpf_map__fd(connect.maps.fp_capture_users), bpf_map__fd(connect.maps.fp_capture_cgroups)};
  if (Result<void> written = write_rules(rules, maps); !written) return written;
  // getpeername first: what connect() changes must be shown from the start.
  for (const bpf_program* program : {connect.progs.getpeername4, connect.progs.getpeername6, connect.progs.connect4,
                                     connect.progs.connect6}) {
    if (Result<void> done = attach_everywhere(pins_, program, places); !done) return done;
  }
  return {};
}

Result<void> Steering::apply_datagram(const Options& options, const std::vector<Cgroup>& places) {
  if (!options.services || !options.services->datagrams) {
    return drop_programs(pins_, {"sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"});
  }
  Result<Object<datagram_bpf>> object = Object<datagram_bpf>::open(&pins_);
  if (!object) return object.error();
  datagram_bpf& datagram = *object->get();
  bpf_map__set_max_entries(datagram.maps.fp_services, options.services->services_max);
  bpf_map__set_max_entries(datagram.maps.fp_slots, options.services->slots_max);
  bpf_map__set_max_entries(datagram.maps.fp_answers, options.services->answers_max);
  if (Result<void> loaded = object->load(); !loaded) return loaded;
  // recvmsg first: answers are shown as the service's from the first datagram on.
  for (const bpf_program* program : {datagram.progs.recvmsg4, datagram.progs.recvmsg6, datagram.progs.sendmsg4,
                                     datagram.progs.sendmsg6}) {
    if (Result<void> done = attach_everywhere(pins_, program, places); !done) return done;
  }
  return {};
}

// Of other options a new one, which takes over what the maps hold; its owner has to update every service again.
Result<void> Steering::open_services(const Options& options) {
  if (!options.services) {
    services_.reset();
    if (!options.capture) return {};
    // The connect programs that capture needs would go on with the services of an earlier configuration.
    Result<std::unique_ptr<Services>> left_over = Services::open(pins_, {});
    return left_over ? (*left_over)->remove_unclaimed() : left_over.error();
  }
  if (services_ && options_.services == options.services) return {};
  services_.reset();
  Result<std::unique_ptr<Services>> opened = Services::open(pins_, *options.services);
  if (!opened) return opened.error();
  services_ = std::move(*opened);
  return {};
}

Result<void> Steering::apply_sockops(const Options& options, const std::vector<Cgroup>& places) {
  if (!options.capture) return drop_programs(pins_, {"original_dst"});
  std::vector<std::string> paths = options.original_dst_cgroups;
  for (const Cgroup& place : places) paths.push_back(place.path());
  Result<Cgroup> daemon = daemon_cgroup(options);
  if (!daemon && !options.daemon_cgroup.empty()) return daemon.error();
  // A daemon in the root cgroup would put the program on every socket of the machine; it asks by the flow instead.
  if (daemon.ok() && daemon->level() != 0) paths.push_back(daemon->path());
  Result<std::vector<Cgroup>> cgroups = open_all(paths);
  if (!cgroups) return cgroups.error();
  Result<Object<sockops_bpf>> object = Object<sockops_bpf>::open(&pins_);
  if (!object) return object.error();
  bpf_map__set_max_entries(object->get()->maps.fp_flows, options.flows_max);
  if (Result<void> loaded = object->load(); !loaded) return loaded;
  return attach_everywhere(pins_, object->get()->progs.original_dst, *cgroups);
}

Result<void> Steering::drop_old_inbound(const Options& options) {
  std::vector<std::string> kept;
  for (const InboundOptions& inbound : options.inbound) {
    // A namespace that is not there yet is an error of attach_inbound() only.
    const Result<net::NetworkNamespace> netns = net::NetworkNamespace::open(inbound.netns);
    if (netns) kept.push_back(Inbound::link_name(*netns));
  }
  inbound_.clear();
  return pins_.drop_links_except(link_prefix("inbound"), kept);
}

Result<void> Steering::attach_inbound(size_t index, std::span<const int> sockets) {
  if (index >= options_.inbound.size()) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0, "no such inbound steering in the options"};
  }
  Result<Inbound> inbound = Inbound::attach(pins_, options_.inbound[index], sockets);
  if (!inbound) return inbound.error();
  inbound_.insert_or_assign(index, std::move(*inbound));
  return {};
}

void Steering::give_up() {
  services_.reset();
  pins_.give_up();
}

Result<void> Steering::steer_workers(std::span<const WorkerSocket> sockets) const {
  return fastpath::steer_workers(pins_, sockets);
}

Result<void> Steering::apply_getsockopt(const Options& options) {
  if (!options.capture || options.original_dst_cgroups.empty()) return drop_programs(pins_, {"original_opt"});
  Result<std::vector<Cgroup>> cgroups = open_all(options.original_dst_cgroups);
  if (!cgroups) return cgroups.error();
  Result<Object<getsockopt_bpf>> object = Object<getsockopt_bpf>::open(&pins_);
  if (!object) return object.error();
  bpf_map__set_max_entries(object->get()->maps.fp_flows, options.flows_max);
  if (Result<void> loaded = object->load(); !loaded) return loaded;
  return attach_everywhere(pins_, object->get()->progs.original_opt, *cgroups);
}

}  // namespace millrace::fastpath
