#include "server/fast_path.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "net/network_namespace.h"
#include "server/privileges.h"
#include "stats/names.h"
#include "upstream/host_sources.h"

namespace millrace::server {

using base::Error;
using base::Result;

namespace {

// A change of health is in the kernel within 100 ms: looked for this often, one load a service.
constexpr base::milliseconds kSyncInterval{20};

const SharedListener* find(const std::vector<std::unique_ptr<SharedListener>>& listeners, const std::string& name) {
  for (const auto& listener : listeners) {
    if (listener->options->name == name) return listener.get();
  }
  return nullptr;
}

// The CPUs that this process may use, in order; workers are spread over them in the same order.
std::vector<uint32_t> allowed_cpus() {
  cpu_set_t set;
  std::vector<uint32_t> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// Those of listeners, each once; inbound steering is in no others.
std::vector<std::string> other_namespaces(const std::vector<std::unique_ptr<SharedListener>>& listeners) {
  std::vector<std::string> paths;
  std::set<uint64_t> known{kOwnNamespace, kAnyNamespace};
  for (const auto& listener : listeners) {
    if (known.insert(listener->network_namespace).second) paths.push_back(listener->options->network_namespace);
  }
  return paths;
}

}  // namespace

std::vector<fastpath::Endpoint> endpoints_of(const upstream::Cluster& cluster, int family) {
  // A source's weights sum to its percent, in units fine enough for the rounding not to be seen.
  constexpr uint64_t kUnit = 1 << 20;
  std::vector<fastpath::Endpoint> to;
  for (const upstream::HostSource& source : upstream::host_sources(cluster)) {
    uint64_t total = 0;
    for (const upstream::Host* host : source.hosts) total += host->address().family() == family ? host->weight() : 0;
    for (const upstream::Host* host : source.hosts) {
      if (host->address().family() != family) continue;
      const uint64_t share = host->weight() * source.percent * kUnit / total;
      to.push_back({host->address(), static_cast<uint32_t>(std::max<uint64_t>(share, 1))});
    }
  }
  return to;
}

FastPath::FastPath(const config::Snapshot& snapshot, io::Loop& loop, stats::Store& store, bool take_over)
    : snapshot_(snapshot), loop_(loop), store_(store), take_over_(take_over), sync_timer_(loop.timers(), *this) {}

Result<void> FastPath::start(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                             const ListenerSockets& sockets) {
  if (!snapshot_.fast_path) {
    why_off_ = "it is not configured";
    return {};
  }
  Result<void> begun = begin(listeners, sockets);
  if (begun.ok()) begun = keep_only({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON});
  if (begun.ok()) {
    MILLRACE_LOG(kInfo, "fastpath", "on: {} programs attached, {} services, pinned in {}",
                 steering_->pins().links().size(), services_.size(), steering_->pins().path());
    sync_timer_.arm(kSyncInterval);
    return {};
  }
  why_off_ = begun.error().to_string();
  original_dst_.reset();
  short_circuit_.reset();
  counters_.reset();
  export_.reset();
  steering_.reset();
  // Half of it would be worse than nothing: what was attached already goes. Another daemon's folder is left alone.
  (void)fastpath::detach(snapshot_.fast_path->steering.pin_dir);
  if (snapshot_.fast_path->fail_when_unavailable) {
    return Error{begun.error().code, begun.error().side, begun.error().os, "the fast path: " + begun.error().what};
  }
  MILLRACE_LOG(kWarn, "fastpath", "off, serving without it: {} (capabilities: {})", why_off_, fast_path_capabilities());
  return {};
}

Result<void> FastPath::begin(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                             const ListenerSockets& sockets) {
  fastpath::Options options = snapshot_.fast_path->steering;
  if (take_over_) options.claim = fastpath::Claim::kTakeOver;
  if (options.services) options.services->namespaces = other_namespaces(listeners);
  for (const std::string& name : snapshot_.fast_path->capture_listeners) {
    const SharedListener* listener = find(listeners, name);
    for (const net::Address& address : listener->bound) {
      (address.kind() == net::Address::Kind::kIpv4 ? options.capture->listener_v4 : options.capture->listener_v6) =
          address;
    }
  }
  auto steering = fastpath::Steering::start(options);
  if (!steering) return steering.error();
  steering_ = std::move(*steering);
  if (options.capture) {
    auto original = fastpath::OriginalDst::open(steering_->pins());
    if (!original) return original.error();
    original_dst_ = std::move(*original);
  }
  if (Result<void> done = steer_inbound(listeners, sockets); !done.ok()) return done;
  if (Result<void> done = steer_workers(listeners, sockets); !done.ok()) return done;
  // The map comes with the first program; a configuration may ask for none (workers of which there is one).
  if (auto counters = fastpath::Counters::open(steering_->pins())) {
    counters_ = std::move(*counters);
    export_.emplace(store_.add_block(fastpath::fastpath_schema(), stats::plain_name("fastpath.")), counters_->read());
  }
  if (snapshot_.fast_path->short_circuit) {
    short_circuit_ = std::make_unique<ShortCircuit>(*snapshot_.fast_path->short_circuit, store_);
    if (Result<void> done = short_circuit_->start(listeners); !done.ok()) {
      if (snapshot_.fast_path->fail_when_unavailable) return done;
      MILLRACE_LOG(kWarn, "fastpath", "serving without the short-circuit: {}", done.error().to_string());
    }
  }
  for (const config::FastPath::Service& wanted : snapshot_.fast_path->services) {
    Service service{wanted.address, wanted.protocol, wanted.cluster, {}, false};
    if (wanted.listener.empty()) {
      services_.push_back(std::move(service));
      continue;
    }
    for (const net::Address& address : find(listeners, wanted.listener)->bound) {
      service.address = address;
      services_.push_back(service);
    }
  }
  if (steering_->services() == nullptr) return {};
  for (Service& service : services_) write(service);
  return steering_->services()->remove_unclaimed();
}

Result<void> FastPath::steer_inbound(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                                     const ListenerSockets& sockets) {
  const std::vector<std::string>& names = snapshot_.fast_path->inbound_listeners;
  for (size_t i = 0; i < snapshot_.fast_path->steering.inbound.size(); ++i) {
    const fastpath::InboundOptions& place = snapshot_.fast_path->steering.inbound[i];
    Result<net::NetworkNamespace> netns = net::NetworkNamespace::open(place.netns);
    if (!netns) return netns.error();
    std::vector<int> given(names.size(), -1);
    for (const fastpath::InboundRule& rule : place.rules) {
      const auto wanted = std::find_if(listeners.begin(), listeners.end(), [&](const auto& listener) {
        return listener->options->name == names[rule.socket];
      });
      if ((*wanted)->network_namespace != (netns->own() ? kOwnNamespace : netns->id())) {
        return Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0,
                     fmt::format("listener '{}' gets no connections of the network namespace '{}': it is in another",
                                 names[rule.socket], netns->path())};
      }
      // One socket of a listener stands for all its workers' sockets.
      const std::vector<int>& own = sockets[static_cast<size_t>(wanted - listeners.begin())].front();
      given[rule.socket] = own.empty() ? -1 : own.front();
      (*wanted)->steered = true;
    }
    if (Result<void> done = steering_->attach_inbound(i, given); !done.ok()) return done;
  }
  return {};
}

Result<void> FastPath::steer_workers(const std::vector<std::unique_ptr<SharedListener>>& listeners,
                                     const ListenerSockets& sockets) {
  if (!snapshot_.fast_path->worker_steering) return {};
  const std::vector<uint32_t> cpus = allowed_cpus();
  for (size_t l = 0; l < listeners.size(); ++l) {
    if (!listeners[l]->options->socket.reuse_port || sockets[l].size() < 2) continue;
    for (size_t a = 0; a < sockets[l].front().size(); ++a) {
      if (!listeners[l]->bound[a].is_ip()) continue;
      std::vector<fastpath::WorkerSocket> group;
      for (size_t w = 0; w < sockets[l].size(); ++w) group.push_back({sockets[l][w][a], {}});
      for (size_t c = 0; c < cpus.size(); ++c) group[c % group.size()].cpus.push_back(cpus[c]);
      if (Result<void> done = steering_->steer_workers(group); !done.ok()) return done;
    }
  }
  return {};
}

int FastPath::worker_cpu(uint16_t index) const {
  if (!active() || !snapshot_.fast_path->worker_steering) return -1;
  const std::vector<uint32_t> cpus = allowed_cpus();
  return cpus.empty() ? -1 : static_cast<int>(cpus[index % cpus.size()]);
}

void FastPath::give_up(std::string why) {
  if (!active()) return;
  MILLRACE_LOG(kInfo, "fastpath", "{}: {} is left to the daemon that comes after this one", why,
               steering_->pins().path());
  given_up_ = true;
  why_off_ = std::move(why);
  sync_timer_.disarm();
  steering_->give_up();
}

void FastPath::sync() {
  if (steering_->pins().wanted()) return give_up("another daemon has taken over");
  for (Service& service : services_) {
    if (service.version != service.cluster->host_set().version()) write(service);
  }
  sync_timer_.arm(kSyncInterval);
}

void FastPath::write(Service& service) {
  // Before the hosts are read: a change meanwhile is seen next time.
  service.version = service.cluster->host_set().version();
  const auto endpoints = endpoints_of(*service.cluster, service.address.family());
  Result<void> written = steering_->services()->update(service.address, service.protocol, endpoints);
  if (!written.ok() && !service.failed) {
    MILLRACE_LOG(kError, "fastpath", "service {} ({}) keeps its endpoints: {}", service.address.to_string(),
                 service.cluster->name(), written.error().to_string());
  }
  service.failed = !written.ok();
}

void FastPath::refresh_stats() {
  if (short_circuit_) short_circuit_->refresh_stats();
  if (!export_) return;
  export_->update(counters_->read());
  stats::StatShard gauges = export_->gauges();
  const fastpath::Services* services = active() ? steering_->services() : nullptr;
  gauges.gauge_set(fastpath::kGaugeActive, active() ? 1 : 0);
  gauges.gauge_set(fastpath::kGaugeServices, services != nullptr ? static_cast<int64_t>(services->size()) : 0);
  gauges.gauge_set(fastpath::kGaugeEndpoints,
                   services != nullptr ? static_cast<int64_t>(services->endpoint_count()) : 0);
  gauges.gauge_set(fastpath::kGaugeLinks, active() ? static_cast<int64_t>(steering_->pins().links().size()) : 0);
  if (services == nullptr) return;
  gauges.inc(fastpath::kCounterResets, services->resets() - std::exchange(resets_seen_, services->resets()));
  gauges.inc(fastpath::kCounterResetsMissed,
             services->resets_missed() - std::exchange(resets_missed_seen_, services->resets_missed()));
}

fastpath::Status FastPath::status() const {
  if (!active()) return fastpath::status_off(why_off_);
  Result<fastpath::Status> status = fastpath::read_status(steering_->pins().path());
  return status.ok() ? std::move(*status) : fastpath::status_off(status.error().to_string());
}

}  // namespace millrace::server
