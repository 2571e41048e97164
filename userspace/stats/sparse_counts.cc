#include "stats/sparse_counts.h"

#include <new>

namespace millrace::stats {
namespace {

constexpr uint16_t kCapacityFirst = 4;

// Fibonacci hashing: neighbouring codes and bins land far apart.
uint32_t slot_of(uint16_t key, uint16_t capacity) { return (key * 40503u >> 4) & (capacity - 1u); }

void bump(Cell& cell, uint64_t n) {
  cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace

SparseCounts::Table* SparseCounts::make(uint16_t capacity) {
  Table* table = new (::operator new(size_of(capacity))) Table{nullptr, 0, capacity, 0};
  for (uint16_t i = 0; i < capacity; ++i) {
    new (table->counts() + i) Cell(0);
    new (table->keys() + i) std::atomic<uint16_t>(0);
  }
  return table;
}

SparseCounts::Table* SparseCounts::grow(Cell& cell, Table* table) {
  Table* bigger = make(table == nullptr ? kCapacityFirst : static_cast<uint16_t>(table->capacity * 2));
  if (table != nullptr) {
    bigger->older = table;
    bigger->used = table->used;
    bigger->sum.store(table->sum.load(std::memory_order_relaxed), std::memory_order_relaxed);
    for (uint16_t i = 0; i < table->capacity; ++i) {
      const uint16_t stored = table->keys()[i].load(std::memory_order_relaxed);
      if (stored == 0) continue;
      uint32_t slot = slot_of(static_cast<uint16_t>(stored - 1), bigger->capacity);
      while (bigger->keys()[slot].load(std::memory_order_relaxed) != 0) slot = (slot + 1) & (bigger->capacity - 1u);
      bigger->counts()[slot].store(table->counts()[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
      bigger->keys()[slot].store(stored, std::memory_order_relaxed);
    }
  }
  cell.store(reinterpret_cast<uint64_t>(bigger), std::memory_order_release);
  return bigger;
}

void SparseCounts::add(Cell& cell, uint16_t key, uint64_t n, uint64_t value) {
  Table* table = reinterpret_cast<Table*>(cell.load(std::memory_order_relaxed));  // NOLINT: our own store
  if (table == nullptr) table = grow(cell, nullptr);
  const uint16_t stored = static_cast<uint16_t>(key + 1);
  uint32_t slot = slot_of(key, table->capacity);
  for (;;) {
    const uint16_t found = table->keys()[slot].load(std::memory_order_relaxed);
    if (found == stored) {
      bump(table->counts()[slot], n);
      break;
    }
    if (found != 0) {
      slot = (slot + 1) & (table->capacity - 1u);
      continue;
    }
    // One slot in four stays free, so that a search always ends.
    if (table->used >= table->capacity / 4 * 3) {
      table = grow(cell, table);
      slot = slot_of(key, table->capacity);
      continue;
    }
    ++table->used;
    table->counts()[slot].store(n, std::memory_order_relaxed);
    table->keys()[slot].store(stored, std::memory_order_release);
    break;
  }
  bump(table->sum, value);
}

void SparseCounts::destroy(Cell& cell) {
  for (Table* table = load(cell); table != nullptr;) {
    Table* older = table->older;
    ::operator delete(table);
    table = older;
  }
  cell.store(0, std::memory_order_relaxed);
}

size_t SparseCounts::memory_bytes(const Cell& cell) {
  size_t bytes = 0;
  for (const Table* table = load(cell); table != nullptr; table = table->older) bytes += size_of(table->capacity);
  return bytes;
}

}  // namespace millrace::stats
