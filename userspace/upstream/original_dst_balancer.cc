#include "upstream/original_dst_balancer.h"

#include "http/header_map.h"
#include "stats/schema_cluster.h"
#include "upstream/http_pool.h"
#include "upstream/thread_local_cluster.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

OriginalDstBalancer::OriginalDstBalancer(ThreadLocalCluster& cluster)
    : cluster_(cluster), shared_(*cluster.cluster().original_dst_hosts()),
      options_(cluster.cluster().options().original_dst), cleanup_(cluster.loop().timers(), *this) {}

OriginalDstBalancer::~OriginalDstBalancer() {
  for (const auto& [address, entry] : entries_) shared_.release(address);
}

// The header is whatever a client says: an address that is none counts, and changes nothing.
std::optional<net::Address> OriginalDstBalancer::override_of(const LbContext& context) {
  if (options_.header_name.empty() || context.request_headers == nullptr) return std::nullopt;
  const std::string_view text = context.request_headers->get(options_.header_name);
  if (text.data() == nullptr) return std::nullopt;
  base::Result<net::Address> found = net::Address::parse_ip_port(text);
  if (found.ok()) return std::move(*found);
  cluster_.stats().inc(stat::kOriginalDstHostInvalid);
  return std::nullopt;
}

Host* OriginalDstBalancer::choose(const LbContext& context) {
  std::optional<net::Address> other = override_of(context);
  if (options_.port_override) {
    if (!other && context.original_destination != nullptr) other = *context.original_destination;
    if (other) other->set_port(*options_.port_override);
  }
  const net::Address* wanted = other ? &*other : context.original_destination;
  return wanted != nullptr && wanted->is_ip() ? host_at(*wanted) : nullptr;
}

Host* OriginalDstBalancer::host_at(const net::Address& address) {
  if (const auto found = entries_.find(address); found != entries_.end()) {
    found->second.used = true;
    return found->second.host.get();
  }
  OriginalDstHosts::Acquired acquired = shared_.acquire(address);
  if (acquired.host == nullptr) return nullptr;
  if (acquired.fresh) cluster_.stats().inc(stat::kMembershipChange);
  if (!cleanup_.armed()) cleanup_.arm(options_.cleanup_interval);
  Entry& entry = entries_[address];
  entry.host = std::move(acquired.host);
  return entry.host.get();
}

void OriginalDstBalancer::forget(const net::Address& address) {
  const auto found = entries_.find(address);
  const net::Address key = found->first;
  cluster_.retire_pools(*found->second.host);
  entries_.erase(found);
  if (shared_.release(key)) cluster_.stats().inc(stat::kMembershipChange);
}

void OriginalDstBalancer::on_cleanup() {
  std::vector<const net::Address*> idle;
  for (auto& [address, entry] : entries_) {
    const bool used = std::exchange(entry.used, false);
    if (!used && entry.host->cx_active() == 0 && entry.host->load() == 0) idle.push_back(&address);
  }
  for (const net::Address* address : idle) forget(*address);
  if (!entries_.empty()) cleanup_.arm(options_.cleanup_interval);
}

}  // namespace millrace::upstream
