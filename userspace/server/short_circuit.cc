#include "server/short_circuit.h"

#include <algorithm>

#include "fastpath/cgroup.h"
#include "filter/hcm_worker.h"
#include "router/http_router.h"
#include "router/tcp_proxy.h"
#include "stats/names.h"
#include "upstream/cluster.h"

namespace millrace::server {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

bool names(const config::FastPath::ShortCircuit& options, const SharedListener& listener) {
  return std::find(options.listeners.begin(), options.listeners.end(), listener.options->name) !=
         options.listeners.end();
}

// The cgroups to attach to. One below another would see each of its sockets twice.
Result<std::vector<fastpath::Cgroup>> places(const std::vector<std::string>& paths) {
  std::vector<fastpath::Cgroup> all;
  const auto add = [&all](fastpath::Cgroup place) {
    const auto covers_it = [&place](const fastpath::Cgroup& known) { return known.covers(place); };
    if (std::any_of(all.begin(), all.end(), covers_it)) return;
    std::erase_if(all, [&place](const fastpath::Cgroup& known) { return place.covers(known); });
    all.push_back(std::move(place));
  };
  for (const std::string& path : paths) {
    Result<fastpath::Cgroup> place = fastpath::Cgroup::open(path);
    if (!place) return place.error();
    add(std::move(*place));
  }
  Result<fastpath::Cgroup> own = fastpath::Cgroup::own();
  if (!own) return own.error();
  add(std::move(*own));
  return all;
}

std::vector<const upstream::Cluster*> clusters_of(const filter::NetworkFilterConfig& chain_end) {
  std::vector<const upstream::Cluster*> all;
  if (const auto* proxy = dynamic_cast<const router::TcpProxyConfig*>(&chain_end)) {
    for (const auto& weighted : proxy->options().clusters) all.push_back(weighted.cluster);
  } else if (const auto* http = dynamic_cast<const filter::HcmConfig*>(&chain_end)) {
    for (const auto& filter : http->options().filters) {
      const auto* router = dynamic_cast<const router::HttpRouterConfig*>(filter.config.get());
      if (router == nullptr) continue;
      const auto& clusters = router->options().clusters;
      all.insert(all.end(), clusters.begin(), clusters.end());
    }
  }
  std::erase(all, nullptr);
  return all;
}

}  // namespace

std::vector<net::Address> short_circuited(const config::FastPath::ShortCircuit& options,
                                          const std::vector<std::unique_ptr<SharedListener>>& listeners) {
  std::vector<net::Address> all;
  const auto add = [&all](const net::Address& address) {
    if (address.is_ip() && std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  };
  for (const auto& listener : listeners) {
    if (!names(options, *listener)) continue;
    for (const net::Address& address : listener->bound) add(address);
    for (const config::FilterChain& chain : listener->options->filter_chains) {
      if (chain.transport != nullptr) continue;  // what is on the wire is not the stream
      for (const upstream::Cluster* cluster : clusters_of(*chain.filter)) {
        for (const auto& host : cluster->hosts()) add(host->address());
        // Where its connections go, nobody knows before they come: any address of this machine.
        if (cluster->options().type == upstream::DiscoveryType::kOriginalDst) {
          add(net::Address::parse_ip("0.0.0.0", 0).value());
        }
      }
    }
  }
  return all;
}

ShortCircuit::ShortCircuit(const config::FastPath::ShortCircuit& options, stats::Store& store)
    : options_(options), store_(store) {}

Result<void> ShortCircuit::start(const std::vector<std::unique_ptr<SharedListener>>& listeners) {
  fastpath::SpliceOptions options;
  options.budget_bytes = options_.unread_bytes_max;
  options.bulk_bytes = options_.one_way_bytes_max;
  proven_ = fastpath::start_proven_splice(options, options_.policy);
  Result<void> attached = proven_.splice ? attach(short_circuited(options_, listeners))
                                         : Error{ErrorCode::kUnsupported, Side::kInternal, 0, proven_.off};
  if (!attached) {
    proven_.off = attached.error().to_string();
    proven_.splice.reset();
  }
  export_.emplace(store_.add_block(fastpath::splice_schema(), stats::plain_name("fastpath.splice.")),
                  proven_.splice ? proven_.report.pieces : fastpath::SplicePieces{false, false, false, false});
  export_->show(proven_.worth, proven_.rule);
  if (!attached) return attached;
  for (const auto& listener : listeners) {
    const auto& chains = listener->options->filter_chains;
    for (size_t i = 0; i < chains.size(); ++i) {
      listener->facts[i].short_circuit = chains[i].transport == nullptr && names(options_, *listener);
    }
  }
  return {};
}

Result<void> ShortCircuit::attach(const std::vector<net::Address>& services) {
  if (Result<void> set = proven_.splice->set_services(services); !set) return set;
  Result<std::vector<fastpath::Cgroup>> all = places(options_.cgroups);
  if (!all) return all.error();
  for (const fastpath::Cgroup& place : *all) {
    if (Result<void> attached = proven_.splice->attach(place.place()); !attached) return attached;
  }
  return {};
}

void ShortCircuit::refresh_stats() {
  if (proven_.splice) export_->update(proven_.splice->counts());
}

}  // namespace millrace::server
