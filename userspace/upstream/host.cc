#include "upstream/host.h"

#include "upstream/cluster.h"

namespace millrace::upstream {
namespace {

constexpr uint32_t bits(HealthFlag flag) { return static_cast<uint32_t>(flag); }
constexpr uint32_t kUnhealthyFlags =
    bits(HealthFlag::kFailedActiveHc) | bits(HealthFlag::kFailedOutlierCheck) | bits(HealthFlag::kFailedEdsHealth);
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

Host::Host(Cluster& cluster, EndpointOptions endpoint, const Locality& locality, uint32_t priority, uint32_t index)
    : cluster_(cluster),
      locality_(locality),
      address_(std::move(endpoint.address)),
      hostname_(std::move(endpoint.hostname)),
      transport_(endpoint.transport ? std::move(*endpoint.transport) : cluster.options().transport),
      weight_(std::max(endpoint.weight, 1u)),
      priority_(priority),
      index_(index),
      canary_(endpoint.canary),
      health_flags_(flags_of(endpoint.health_status)) {}

Host::Host(Cluster& cluster, const net::Address& address, const Locality& locality, uint16_t workers)
    : cluster_(cluster),
      locality_(locality),
      address_(address),
      transport_(cluster.options().transport),
      weight_(1),
      priority_(0),
      index_(kUnlisted),
      canary_(false),
      own_counters_size_(workers),
      own_counters_(std::make_unique<HostCounters[]>(workers)) {}

Health Host::health() const {
  const uint32_t flags = health_flags();
  if ((flags & kUnhealthyFlags) != 0) return Health::kUnhealthy;
  return (flags & kDegradedFlags) != 0 ? Health::kDegraded : Health::kHealthy;
}

void Host::set(HealthFlag flag) {
  const uint32_t before = health_flags_.fetch_or(bits(flag), std::memory_order_relaxed);
  if ((before & bits(flag)) == 0) cluster_.health_changed();
}

void Host::clear(HealthFlag flag) {
  const uint32_t before = health_flags_.fetch_and(~bits(flag), std::memory_order_relaxed);
  if ((before & bits(flag)) != 0) cluster_.health_changed();
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
