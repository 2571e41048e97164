#include "upstream/host_set.h"

#include <array>
#include <functional>

namespace millrace::upstream {

std::mutex& HostSet::mutex() const {
  static std::array<std::mutex, 64> mutexes;
  return mutexes[std::hash<const void*>{}(this) / alignof(HostSet) / 8 % mutexes.size()];
}

HostSet::Tables& HostSet::tables() {
  if (tables_ != nullptr) return *tables_;
  tables_ = std::make_unique<Tables>();
  tables_->log_begin = version_.load(std::memory_order_relaxed);
  return *tables_;
}

void HostSet::log(uint32_t index) {
  std::vector<uint32_t>& log = tables().log;
  if (log.size() == kLogMax) {
    log.erase(log.begin(), log.begin() + kLogMax / 2);
    tables_->log_begin += kLogMax / 2;
  }
  log.push_back(index);
  version_.store(tables_->log_begin + log.size(), std::memory_order_release);
}

void HostSet::index_hosts() {
  if (!tables().by_index.empty()) return;
  tables_->by_index = hosts_;
  for (uint32_t i = 0; i < hosts_.size(); ++i) tables_->positions.push_back(i);
}

// Under the lock.
const HostPtr* HostSet::find(uint32_t index) const {
  const std::vector<HostPtr>& all = tables_ == nullptr || tables_->by_index.empty() ? hosts_ : tables_->by_index;
  return index < all.size() && all[index] != nullptr ? &all[index] : nullptr;
}

void HostSet::change(std::span<const HostPtr> added, std::span<const HostPtr> removed) {
  const std::lock_guard lock(mutex());
  const bool in_order = hosts_.empty() && next_index_ == added.size();
  if (version_.load(std::memory_order_relaxed) == 0 && in_order) {
    hosts_.assign(added.begin(), added.end());
    version_.store(1, std::memory_order_release);
    if (tables_ != nullptr) tables_->log_begin = 1;
    return;
  }
  index_hosts();
  std::vector<HostPtr>& by_index = tables_->by_index;
  std::vector<uint32_t>& positions = tables_->positions;
  for (const HostPtr& host : removed) {  // it keeps them: none is destroyed under the lock
    const uint32_t at = positions[host->index()];
    positions[hosts_.back()->index()] = at;
    if (at + 1 < hosts_.size()) hosts_[at] = std::move(hosts_.back());
    hosts_.pop_back();
    by_index[host->index()] = nullptr;
    log(host->index());
  }
  for (const HostPtr& host : added) {
    if (host->index() >= by_index.size()) {
      positions.resize(host->index() + 1);
      by_index.resize(host->index() + 1);
    }
    positions[host->index()] = static_cast<uint32_t>(hosts_.size());
    hosts_.push_back(host);
    by_index[host->index()] = host;
    log(host->index());
  }
}

void HostSet::clear() {
  std::vector<HostPtr> gone;
  {
    const std::lock_guard lock(mutex());
    gone.swap(hosts_);
    if (tables_ != nullptr) gone.insert(gone.end(), tables_->by_index.begin(), tables_->by_index.end());
    if (tables_ != nullptr) tables_->by_index.clear();
  }
}

void HostSet::changed(const Host& host) {
  const std::lock_guard lock(mutex());
  const HostPtr* listed = find(host.index());
  if (listed != nullptr && listed->get() == &host) log(host.index());
}

HostSet::Changes HostSet::since(uint64_t seen) const {
  Changes out;
  const std::lock_guard lock(mutex());
  out.version = version_.load(std::memory_order_relaxed);
  const uint64_t log_begin = tables_ == nullptr ? out.version : tables_->log_begin;
  out.from_scratch = seen == 0 || seen < log_begin;
  if (!out.from_scratch) {
    for (size_t i = seen - log_begin; i < out.version - log_begin; ++i) {
      const HostPtr* host = find(tables_->log[i]);
      out.changes.push_back({tables_->log[i], host == nullptr ? nullptr : *host});
    }
    return out;
  }
  out.changes.reserve(hosts_.size());
  for (const HostPtr& host : hosts_) out.changes.push_back({host->index(), host});
  return out;
}

size_t HostSet::memory_bytes() const {
  const std::lock_guard lock(mutex());
  const size_t bytes = hosts_.capacity() * sizeof(HostPtr);
  if (tables_ == nullptr) return bytes;
  const size_t numbers = tables_->positions.capacity() + tables_->free_indexes.capacity() + tables_->log.capacity();
  return bytes + sizeof(Tables) + tables_->by_index.capacity() * sizeof(HostPtr) + numbers * sizeof(uint32_t);
}

uint32_t HostSet::take_index() {
  const std::lock_guard lock(mutex());
  if (tables_ == nullptr || tables_->free_indexes.empty()) return next_index_++;
  const uint32_t index = tables_->free_indexes.back();
  tables_->free_indexes.pop_back();
  return index;
}

void HostSet::give_index_back(uint32_t index) {
  const std::lock_guard lock(mutex());
  tables().free_indexes.push_back(index);
}

}  // namespace millrace::upstream
