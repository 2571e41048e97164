#include "upstream/original_dst_hosts.h"

namespace millrace::upstream {

OriginalDstHosts::Acquired OriginalDstHosts::acquire(const net::Address& address) {
  const std::lock_guard lock(mutex_);
  auto found = hosts_.find(address);
  const bool fresh = found == hosts_.end();
  if (fresh) {
    if (hosts_.size() >= kHostsMax) return {};
    EndpointOptions endpoint;
    endpoint.address = address;
    auto host = std::make_shared<Host>(cluster_, std::move(endpoint), locality_, 0, false);
    found = hosts_.emplace(address, Entry{std::move(host)}).first;
  }
  ++found->second.workers;
  return {found->second.host, fresh};
}

bool OriginalDstHosts::release(const net::Address& address) {
  const std::lock_guard lock(mutex_);
  const auto found = hosts_.find(address);
  MILLRACE_ASSERT(found != hosts_.end());
  if (--found->second.workers > 0) return false;
  hosts_.erase(found);
  return true;
}

std::vector<std::shared_ptr<Host>> OriginalDstHosts::hosts() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Host>> all;
  all.reserve(hosts_.size());
  for (const auto& [address, entry] : hosts_) all.push_back(entry.host);
  return all;
}

}  // namespace millrace::upstream
