#include "upstream/dns_cluster.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "stats/schema_cluster.h"
#include "upstream/back_off.h"

namespace millrace::upstream {

namespace stat = stats::cluster;

namespace {

// What DNS says of one host.
struct Found {
  net::Address address;
  std::string name;          // of an SRV record's target; else empty
  uint32_t weight = 0;       // 0: the target's
  uint32_t priority = 0;     // added to the target's
  bool operator==(const Found&) const = default;
  auto key() const { return std::tuple(priority, address.to_string(), weight, name); }
};

}  // namespace

// One name: its question, its answer, its timer.
class DnsCluster::Target {
 public:
  Target(DnsCluster& owner, const DnsTarget& options, const DnsOptions& dns)
      : owner_(owner), options_(options), dns_(dns),
        back_off_(dns.failure_refresh_base.value_or(dns.refresh_rate),
                  dns.failure_refresh_max.value_or(dns.refresh_rate)),
        timer_(owner.loop_.timers(), *this) {}

  void ask() {
    owner_.cluster_.stats().main_shard().inc(stat::kUpdateAttempt);
    asking_ = true;
    next_.clear();
    ttl_ = base::seconds::max();
    queries_.clear();
    if (options_.services) {
      queries_.push_back(owner_.resolver_.resolve_services(
          options_.name, [this](DnsServices answer) { on_services(std::move(answer)); }));
      return;
    }
    pending_ = 1;
    ask_for(options_.name, {});
  }

  // What its answer is worth as endpoints, by priority.
  void add_to(std::map<uint32_t, LocalityEndpoints>& localities) const {
    for (const Found& found : found_) {
      const uint32_t priority = options_.priority + found.priority;
      LocalityEndpoints& to = localities[priority];
      to.priority = priority;
      to.locality = options_.locality;
      EndpointOptions endpoint = options_.endpoint;
      endpoint.address = found.address;
      if (endpoint.hostname.empty()) endpoint.hostname = found.name.empty() ? options_.name : found.name;
      if (found.weight != 0) endpoint.weight = found.weight;
      to.endpoints.push_back(std::move(endpoint));
    }
  }
  const net::Address* first() const { return first_.empty() ? nullptr : &first_; }

 private:
  void on_services(DnsServices answer) {
    if (answer.status == DnsStatus::kFailed) return on_failed(answer.what);
    ttl_ = answer.ttl;
    std::stable_sort(answer.services.begin(), answer.services.end(),
                     [](const DnsService& a, const DnsService& b) { return a.priority < b.priority; });
    pending_ = answer.services.size();
    if (pending_ == 0) return on_answered();
    uint32_t rank = 0;
    for (size_t i = 0; i < answer.services.size(); ++i) {
      const DnsService& service = answer.services[i];
      if (i > 0 && service.priority != answer.services[i - 1].priority) ++rank;
      Found like;
      like.name = service.target;
      like.weight = std::max<uint32_t>(service.weight, 1);
      like.priority = rank;
      like.address.set_port(service.port);
      ask_for(service.target, std::move(like));
    }
  }

  void ask_for(const std::string& name, Found like) {
    queries_.push_back(owner_.resolver_.resolve(name, dns_.family, [this, like = std::move(like)](DnsAnswer answer) {
      on_addresses(like, std::move(answer));
    }));
  }

  void on_addresses(const Found& like, DnsAnswer answer) {
    if (!asking_) return;  // another name of the same round has failed
    if (answer.status == DnsStatus::kFailed) return on_failed(answer.what);
    const uint16_t port = options_.services ? like.address.port() : options_.endpoint.address.port();
    for (net::Address& address : answer.addresses) {
      address.set_port(port);
      Found found = like;
      found.address = std::move(address);
      next_.push_back(std::move(found));
    }
    ttl_ = std::min(ttl_, answer.ttl);
    if (--pending_ == 0) on_answered();
  }

  void on_answered() {
    stats::StatShard stats = owner_.cluster_.stats().main_shard();
    stats.inc(stat::kUpdateSuccess);
    if (next_.empty()) stats.inc(stat::kUpdateEmpty);
    if (failing_) {
      MILLRACE_LOG(kInfo, "upstream", "cluster '{}': {} is resolved again", owner_.cluster_.name(), options_.name);
    }
    failing_ = false;
    back_off_.reset();
    first_ = next_.empty() ? net::Address() : next_[0].address;
    std::sort(next_.begin(), next_.end(), [](const Found& a, const Found& b) { return a.key() < b.key(); });
    next_.erase(std::unique(next_.begin(), next_.end()), next_.end());
    const bool other = next_ != found_;
    found_ = std::move(next_);
    if (!other) stats.inc(stat::kUpdateNoRebuild);
    const bool ttl_said = dns_.respect_ttl && ttl_ > base::seconds(0) && ttl_ != base::seconds::max();
    wait(ttl_said ? std::max(base::milliseconds(ttl_), dns_.min_refresh_rate) : dns_.refresh_rate);
    owner_.on_asked(*this, other, !std::exchange(answered_, true));
  }

  void on_failed(const std::string& what) {
    owner_.cluster_.stats().main_shard().inc(stat::kUpdateFailure);
    if (!std::exchange(failing_, true)) {
      MILLRACE_LOG(kWarn, "upstream", "cluster '{}' keeps its hosts: {}", owner_.cluster_.name(), what);
    }
    wait(dns_.failure_refresh_base ? std::max(back_off_.next(owner_.loop_.prng()), base::milliseconds(1))
                                   : dns_.refresh_rate);
    owner_.on_asked(*this, false, !std::exchange(answered_, true));
  }

  void wait(base::milliseconds time) {
    asking_ = false;
    queries_.clear();
    if (dns_.jitter.count() > 0) {
      time += base::milliseconds(owner_.loop_.prng().below(static_cast<uint64_t>(dns_.jitter.count())));
    }
    timer_.arm(time);
  }

  DnsCluster& owner_;
  const DnsTarget& options_;
  const DnsOptions& dns_;
  BackOff back_off_;
  std::vector<std::unique_ptr<DnsResolver::Query>> queries_;
  std::vector<Found> next_;  // of the answers that are there
  size_t pending_ = 0;       // that are not
  base::seconds ttl_{0};
  std::vector<Found> found_;  // sorted
  net::Address first_;        // of the answer, as it came
  bool asking_ = false, failing_ = false, answered_ = false;
  io::TimerOf<&Target::ask> timer_;
};

DnsCluster::DnsCluster(Cluster& cluster, DnsResolver& resolver, io::Loop& loop, std::function<void(Cluster&)> changed)
    : cluster_(cluster), resolver_(resolver), loop_(loop), changed_(std::move(changed)) {
  const DnsOptions& dns = *cluster.options().dns;
  for (const DnsTarget& target : dns.targets) targets_.push_back(std::make_unique<Target>(*this, target, dns));
  unanswered_ = targets_.size();
}

DnsCluster::~DnsCluster() = default;

void DnsCluster::start(std::function<void()> first) {
  first_ = std::move(first);
  if (targets_.empty()) loop_.post(std::exchange(first_, nullptr));
  for (const auto& target : targets_) target->ask();
}

void DnsCluster::on_asked(Target& target, bool new_hosts, bool first_time) {
  const bool logical = cluster_.options().type == DiscoveryType::kLogicalDns;
  const net::Address* first = target.first();
  if (logical && first != nullptr && !cluster_.hosts().empty()) {
    Host& host = *cluster_.hosts()[0];
    if (host.address() != *first) {
      host.move_to(*first);
      changed_(cluster_);
    }
  } else if (new_hosts && !(logical && first == nullptr)) {
    rebuild();
  }
  if (first_time && --unanswered_ == 0) std::exchange(first_, nullptr)();
}

void DnsCluster::rebuild() {
  std::vector<LocalityEndpoints> all;
  for (const auto& target : targets_) {
    std::map<uint32_t, LocalityEndpoints> localities;
    target->add_to(localities);
    for (auto& [priority, locality] : localities) all.push_back(std::move(locality));
  }
  if (cluster_.options().type == DiscoveryType::kLogicalDns && !all.empty()) {
    all.resize(1);
    all[0].endpoints.resize(1);
    all[0].endpoints[0].address = *targets_[0]->first();
  }
  if (!cluster_.update_hosts(std::move(all)).empty()) changed_(cluster_);
}

}  // namespace millrace::upstream
