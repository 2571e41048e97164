// Counts by a small key (a status code, a histogram's bin), most keys never seen: an open-addressed table that lives
// behind one cell of a StatBlock. One thread adds, any thread reads meanwhile. A full table is replaced by one twice as
// large; the old one is kept behind it, unread, until destroy(), because a reader may still be inside: all the old ones
// together are no larger than the live table.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace millrace::stats {

using Cell = std::atomic<uint64_t>;

class SparseCounts {
 public:
  // Adds n to the count of key (< 65535) and `value` to the sum. The thread that owns the cell.
  static void add(Cell& cell, uint16_t key, uint64_t n, uint64_t value);
  static void destroy(Cell& cell);
  static size_t memory_bytes(const Cell& cell);
  static uint64_t sum(const Cell& cell) {
    const Table* table = load(cell);
    return table == nullptr ? 0 : table->sum.load(std::memory_order_relaxed);
  }
  // Calls f(key, count) for every key seen, in no order.
  template <class F>
  static void for_each(const Cell& cell, F&& f) {
    const Table* table = load(cell);
    if (table == nullptr) return;
    for (uint32_t i = 0; i < table->capacity; ++i) {
      const uint16_t stored = table->keys()[i].load(std::memory_order_acquire);
      if (stored != 0) f(static_cast<uint16_t>(stored - 1), table->counts()[i].load(std::memory_order_relaxed));
    }
  }

 private:
  // Followed in memory by `capacity` counts, then `capacity` keys (key + 1; 0 is free).
  struct Table {
    Table* older;
    Cell sum;
    uint16_t capacity;  // a power of two
    uint16_t used;
    Cell* counts() { return reinterpret_cast<Cell*>(this + 1); }
    const Cell* counts() const { return reinterpret_cast<const Cell*>(this + 1); }
    std::atomic<uint16_t>* keys() { return reinterpret_cast<std::atomic<uint16_t>*>(counts() + capacity); }
    const std::atomic<uint16_t>* keys() const {
      return reinterpret_cast<const std::atomic<uint16_t>*>(counts() + capacity);
    }
  };
  static Table* load(const Cell& cell) {
    return reinterpret_cast<Table*>(cell.load(std::memory_order_acquire));  // NOLINT: the cell holds the address
  }
  static size_t size_of(uint16_t capacity) {
    return sizeof(Table) + capacity * (sizeof(Cell) + sizeof(std::atomic<uint16_t>));
  }
  static Table* make(uint16_t capacity);
  static Table* grow(Cell& cell, Table* table);
};

}  // namespace millrace::stats
