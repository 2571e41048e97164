#include "fastpath/services.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "fastpath/object.h"
#include "fastpath/wire.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

bool before(const fp_endpoint_addr& a, const fp_endpoint_addr& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
bool same(const fp_endpoint_addr& a, const fp_endpoint_addr& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

std::vector<fp_endpoint_addr> endpoints_of(std::span<const fp_slot> slots) {
  std::vector<fp_endpoint_addr> out;
  for (const fp_slot& slot : slots) out.push_back(slot.first);  // each endpoint is first in a slot of its own
  std::sort(out.begin(), out.end(), before);
  out.erase(std::unique(out.begin(), out.end(), same), out.end());
  return out;
}

uint32_t entries_of(int map) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(map, &info, &size) == 0 ? info.max_entries : 0;
}

// MEMBARRIER_CMD_GLOBAL is synchronize_rcu(): no program that looked up a service before still runs after it.
bool wait_for_programs() { return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0; }

Result<void> check(const net::Address& address, uint8_t protocol, std::span<const Endpoint> endpoints) {
  if (!address.is_ip() || address.is_any() || address.port() == 0 || (protocol != IPPROTO_TCP &&
                                                                      protocol != IPPROTO_UDP)) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
                 fmt::format("{} cannot be a service: it takes one IP address and port, TCP or UDP",
                             address.to_string())};
  }
  for (const Endpoint& endpoint : endpoints) {
    if (endpoint.address.kind() == address.kind() && endpoint.address.port() != 0) continue;
    return Error{ErrorCode::kUnsupported, Side::kInternal, 0,
                 fmt::format("{} cannot be an endpoint of the service {}: another family, or no port",
                             endpoint.address.to_string(), address.to_string())};
  }
  return {};
}

}  // namespace

size_t Services::KeyHash::operator()(const fp_endpoint_addr& key) const {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof key});
}
bool Services::KeyEqual::operator()(const fp_endpoint_addr& a, const fp_endpoint_addr& b) const { return same(a, b); }

Services::Services(const ServicesOptions& options, Fd services, Fd slots, Fd dialled)
    : options_(options), service_map_(std::move(services)), slot_map_(std::move(slots)),
      dialled_map_(std::move(dialled)), slot_count_(entries_of(slot_map_.get())), ranges_(slot_count_) {}

Services::~Services() {
  if (slots_ != nullptr) munmap(slots_, slots_bytes_);
}

Result<std::unique_ptr<Services>> Services::open(const PinDir& pins, const ServicesOptions& options) {
  Fd services(bpf_obj_get(pins.map_path("fp_services").c_str()));
  Fd slots(bpf_obj_get(pins.map_path("fp_slots").c_str()));
  Fd dialled(bpf_obj_get(pins.map_path("fp_dialled_sockets").c_str()));
  if (!services || !slots || !dialled) return bpf_failure(errno, "opening the maps of services");
  std::unique_ptr<Services> out(new Services(options, std::move(services), std::move(slots), std::move(dialled)));
  if (Result<void> mapped = out->map_slots(); !mapped) return mapped.error();
  if (options.reset_removed) {
    out->connection_resets_ = std::make_unique<ConnectionResets>(out->dialled_map_.get(), options.namespaces);
  }
  out->adopt();
  return out;
}

Result<void> Services::map_slots() {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  slots_bytes_ = (slot_count_ * sizeof(fp_slot) + page - 1) / page * page;
  void* memory = mmap(nullptr, slots_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, slot_map_.get(), 0);
  if (memory == MAP_FAILED) return bpf_failure(errno, "mapping the slots of services");
  slots_ = static_cast<fp_slot*>(memory);
  return {};
}

void Services::adopt() {
  fp_endpoint_addr key{};
  for (const fp_endpoint_addr* at = nullptr; bpf_map_get_next_key(service_map_.get(), at, &key) == 0; at = &key) {
    Known known;
    if (bpf_map_lookup_elem(service_map_.get(), &key, &known.value) != 0) continue;
    generation_ = std::max(generation_, known.value.generation);
    const uint32_t first = known.value.first_slot, count = known.value.slot_count;
    // Of a set that a daemon wrote these slots cannot be taken twice; one that does not fit is written anew.
    if (count > 0 && !ranges_.claim(first, count)) known.value = {};
    else known.endpoints = endpoints_of({slots_ + first, count});
    services_.emplace(key, std::move(known));
  }
}

Result<uint32_t> Services::take_slots(uint32_t count) {
  if (count == 0) return 0u;
  std::optional<uint32_t> first = ranges_.take(count);
  if (!first && ranges_.unsettled() && wait_for_programs()) {
    ranges_.settle();
    first = ranges_.take(count);
  }
  if (first) return *first;
  return Error{ErrorCode::kResourceExhausted, Side::kInternal, 0,
               fmt::format("no room for {} endpoints among {} slots", count, slot_count_)};
}

Result<void> Services::update(const net::Address& address, uint8_t protocol, std::span<const Endpoint> endpoints) {
  if (Result<void> checked = check(address, protocol, endpoints); !checked) return checked;
  const fp_endpoint_addr key = wire_endpoint(address, protocol);
  const std::vector<fp_slot> slots = make_slots(endpoints, protocol, generation_ + 1);
  const uint32_t count = static_cast<uint32_t>(slots.size());
  Result<uint32_t> first = take_slots(count);
  if (!first) return first.error();
  std::copy(slots.begin(), slots.end(), slots_ + *first);
  // Slots before the service that names them: the compiler's order here, the processor's by the kernel, whose hash maps
  // publish a value with a release store (rcu_assign_pointer).
  std::atomic_signal_fence(std::memory_order_release);
  const fp_service value{generation_ + 1, *first, count, options_.refuse_when_empty ? 1u : 0u};
  if (bpf_map_update_elem(service_map_.get(), &key, &value, BPF_ANY) != 0) {
    const int error = errno;
    ranges_.give_back(*first, count);
    if (error != E2BIG) return bpf_failure(error, fmt::format("writing the service {}", address.to_string()));
    return Error{ErrorCode::kResourceExhausted, Side::kInternal, 0,
                 fmt::format("no room for the service {}: there are {} already", address.to_string(), size())};
  }
  ++generation_;
  Known& known = services_[key];
  ranges_.give_back(known.value.first_slot, known.value.slot_count);
  std::vector<fp_endpoint_addr> fresh = endpoints_of(slots);
  if (options_.reset_removed) reset_removed(key, known.endpoints, fresh);
  known = {value, true, std::move(fresh)};
  return {};
}

void Services::reset_removed(const fp_endpoint_addr& service, const std::vector<fp_endpoint_addr>& old_endpoints,
                             const std::vector<fp_endpoint_addr>& new_endpoints) {
  for (const fp_endpoint_addr& endpoint : old_endpoints) {
    if (std::binary_search(new_endpoints.begin(), new_endpoints.end(), endpoint, before)) continue;
    Result<uint32_t> reset = connection_resets_->reset(service, endpoint);
    if (reset.ok()) {
      resets_ += *reset;
    } else {
      MILLRACE_LOG(kWarn, "fastpath", "connections to {} stay: {}", unwired(endpoint).to_string(),
                   reset.error().to_string());
    }
    const uint32_t left = connection_resets_->count(service, endpoint);
    if (left == 0) continue;
    resets_missed_ += left;
    MILLRACE_LOG(kWarn, "fastpath", "{} connections to {} stay: they are in network namespaces where no listener is",
                 left, unwired(endpoint).to_string());
  }
}

Result<void> Services::erase(Table::iterator at) {
  if (bpf_map_delete_elem(service_map_.get(), &at->first) != 0 && errno != ENOENT) {
    return bpf_failure(errno, "removing a service");
  }
  ranges_.give_back(at->second.value.first_slot, at->second.value.slot_count);
  if (options_.reset_removed) reset_removed(at->first, at->second.endpoints, {});
  services_.erase(at);
  return {};
}

Result<void> Services::remove(const net::Address& address, uint8_t protocol) {
  const auto at = services_.find(wire_endpoint(address, protocol));
  return at == services_.end() ? Result<void>() : erase(at);
}

Result<void> Services::remove_unclaimed() {
  for (auto at = services_.begin(); at != services_.end();) {
    const auto here = at++;
    if (here->second.claimed) continue;
    if (Result<void> erased = erase(here); !erased) return erased;
  }
  return {};
}

std::vector<ServiceState> Services::list() const {
  std::vector<ServiceState> out;
  for (const auto& [key, known] : services_) {
    ServiceState state{unwired(key), key.proto, known.value.generation, known.claimed, {}};
    for (const fp_endpoint_addr& endpoint : known.endpoints) state.endpoints.push_back(unwired(endpoint));
    out.push_back(std::move(state));
  }
  return out;
}

size_t Services::endpoint_count() const {
  size_t sum = 0;
  for (const auto& [key, known] : services_) sum += known.endpoints.size();
  return sum;
}

}  // namespace millrace::fastpath
