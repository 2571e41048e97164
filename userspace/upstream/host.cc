#include "upstream/host.h"

#include <algorithm>

#include "upstream/cluster.h"

namespace millrace::upstream {
namespace {

constexpr uint32_t bits(HealthFlag flag) { return static_cast<uint32_t>(flag); }
constexpr uint32_t kUnhealthyFlags =
    bits(HealthFlag::kFailedActiveHc) | bits(HealthFlag::kFailedOutlierCheck) | bits(HealthFlag::kFailedEdsHealth);
// What discovery says, as opposed to what was found out here.
constexpr uint32_t kDiscoveryFlags =
    bits(HealthFlag::kFailedEdsHealth) | bits(HealthFlag::kDegradedEdsHealth) | bits(HealthFlag::kEdsStatusDraining);
constexpr uint32_t kDegradedFlags = bits(HealthFlag::kDegradedActiveHc) | bits(HealthFlag::kDegradedEdsHealth);

uint32_t flags_of(HealthStatus status) {
  switch (status) {
    case HealthStatus::kUnhealthy:
    case HealthStatus::kTimeout: return bits(HealthFlag::kFailedEdsHealth);
    case HealthStatus::kDraining: return bits(HealthFlag::kFailedEdsHealth) | bits(HealthFlag::kEdsStatusDraining);
    case HealthStatus::kDegraded: return bits(HealthFlag::kDegradedEdsHealth);
    case HealthStatus::kUnknown:
    case HealthStatus::kHealthy: break;
  }
  return 0;
}

}  // namespace

Host::Host(Cluster& cluster, EndpointOptions endpoint, const Locality& locality, uint32_t priority, bool listed)
    : cluster_(cluster),
      address_(std::move(endpoint.address)),
      hostname_(std::move(endpoint.hostname)),
      transport_(endpoint.transport ? std::move(*endpoint.transport) : cluster.options().transport),
      locality_(&locality),
      weight_(std::max(endpoint.weight, 1u)),
      priority_(priority),
      index_(cluster.host_set().take_index()),
      listed_(listed),
      canary_(endpoint.canary),
      health_flags_(flags_of(endpoint.health_status)) {}

Host::~Host() {
  const Move* moved = moved_to_.load(std::memory_order_relaxed);
  const std::unique_ptr<std::deque<Move>> moves(moved == nullptr ? nullptr : moved->all);
  delete[] counters_.load(std::memory_order_relaxed);
  cluster_.host_set().give_index_back(index_);
}

std::shared_ptr<Host> Host::hold() { return cluster_.hosts_stay() ? nullptr : shared_from_this(); }

HostCounters* Host::make_counters() {
  auto* made = new HostCounters[cluster_.workers()];
  HostCounters* there = nullptr;
  if (counters_.compare_exchange_strong(there, made, std::memory_order_acq_rel)) return made;
  delete[] made;
  return there;
}

std::span<const HostCounters> Host::all_counters() const {
  const HostCounters* all = counters_.load(std::memory_order_acquire);
  return {all, all == nullptr ? 0u : cluster_.workers()};
}

void Host::move_to(const net::Address& address) {
  if (this->address() == address) return;
  const Move* now = moved_to_.load(std::memory_order_relaxed);
  std::deque<Move>* all = now != nullptr ? now->all : new std::deque<Move>;
  auto found = std::find_if(all->begin(), all->end(), [&](const Move& move) { return move.address == address; });
  if (found == all->end()) found = all->insert(all->end(), Move{address, all});
  moved_to_.store(&*found, std::memory_order_release);
  cluster_.host_set().changed(*this);
}

bool Host::is(const EndpointOptions& endpoint) const {
  const auto& transport = endpoint.transport ? *endpoint.transport : cluster_.options().transport;
  return hostname_ == endpoint.hostname && canary_ == endpoint.canary && transport_ == transport;
}

bool Host::update(const EndpointOptions& endpoint, const Locality& locality, uint32_t priority) {
  const uint32_t weight = std::max(endpoint.weight, 1u);
  bool changed = weight_.exchange(weight, std::memory_order_relaxed) != weight;
  changed |= priority_.exchange(priority, std::memory_order_relaxed) != priority;
  changed |= locality_.exchange(&locality, std::memory_order_relaxed) != &locality;
  const uint32_t wanted = flags_of(endpoint.health_status);
  const uint32_t gone = kDiscoveryFlags & ~wanted;
  changed |= (health_flags_.fetch_or(wanted, std::memory_order_relaxed) & wanted) != wanted;
  changed |= (health_flags_.fetch_and(~gone, std::memory_order_relaxed) & gone) != 0;
  return changed;
}

Health Host::health() const {
  const uint32_t flags = health_flags();
  if ((flags & kUnhealthyFlags) != 0) return Health::kUnhealthy;
  return (flags & kDegradedFlags) != 0 ? Health::kDegraded : Health::kHealthy;
}

void Host::set(HealthFlag flag) {
  const uint32_t before = health_flags_.fetch_or(bits(flag), std::memory_order_relaxed);
  if ((before & bits(flag)) == 0) cluster_.host_set().changed(*this);
}

void Host::clear(HealthFlag flag) {
  const uint32_t before = health_flags_.fetch_and(~bits(flag), std::memory_order_relaxed);
  if ((before & bits(flag)) != 0) cluster_.host_set().changed(*this);
}

std::string Host::health_flags_string() const {
  const uint32_t flags = health_flags();
  std::string text;
#define MILLRACE_X(enumerator, bit, name) \
  if ((flags & bit) != 0) text += "/" name;
  MILLRACE_HEALTH_FLAGS(MILLRACE_X)
#undef MILLRACE_X
  return text.empty() ? "healthy" : text;
}

}  // namespace millrace::upstream
