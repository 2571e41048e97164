// Statistics. A StatBlock holds the values of one cluster, listener, ... as its Schema lays them out; names are built
// only when somebody scrapes. Shard 0 belongs to the main thread, shard k + 1 to worker k; a shard has one writing
// thread, which writes with plain loads and stores through its StatShard. A scrape sums the shards, on any thread,
// meanwhile. A shard's memory appears with the first write to it, a chunk at a time, so an unused cluster costs its
// block only.
//
// Blocks belong to whoever made them (shared_ptr) and leave the Store when the last owner, which may be a scrape, goes.
// As in Envoy, the same name is the same statistic: asking for a block that is alive returns it, so counters outlive
// the update of a cluster.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stats/histogram.h"
#include "stats/schema.h"
#include "stats/sparse_counts.h"

namespace millrace::stats {

constexpr uint16_t kMainShard = 0;
constexpr uint16_t worker_shard(uint16_t worker) { return static_cast<uint16_t>(worker + 1); }

// Allocated by its writer, so that chunks of different workers come from different arenas and share no cache line.
struct Chunk {
  Cell cells[kCellsPerChunk] = {};
};
using ChunkDirectory = std::atomic<Chunk*>;  // [chunks of the schema]

class StatBlock;

// One writer's way into a block: resolve it once per worker and keep it beside the shared_ptr of the block, which must
// outlive it. Copies are cheap. A default one swallows what it is given. Only the shard's own thread may call it.
class StatShard {
 public:
  StatShard() = default;

  void inc(uint16_t index, uint64_t n = 1) {
    Cell& c = cell(index);
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // Gauges: this shard's share of the sum. The lowest bit of a gauge's cell says that it was ever written.
  void gauge_add(uint16_t index, int64_t n = 1) {
    Cell& c = cell(index);
    c.store((c.load(std::memory_order_relaxed) + (static_cast<uint64_t>(n) << 1)) | 1, std::memory_order_relaxed);
  }
  void gauge_sub(uint16_t index, int64_t n = 1) { gauge_add(index, -n); }
  void gauge_set(uint16_t index, int64_t value) {
    cell(index).store((static_cast<uint64_t>(value) << 1) | 1, std::memory_order_relaxed);
  }
  // Histograms, in the unit of the descriptor.
  void record(uint16_t index, uint64_t value);
  // Kind::kCodes: one more message with this HTTP status.
  void inc_code(uint16_t index, uint16_t code, uint64_t n = 1);

 private:
  friend class StatBlock;
  StatShard(StatBlock* block, uint16_t shard) : block_(block), shard_(shard) {}
  Cell& cell(uint16_t index) {
    Chunk* chunk = chunks_[index / kCellsPerChunk].load(std::memory_order_relaxed);
    if (__builtin_expect(chunk == nullptr, 0)) chunk = make_chunk(index);
    return chunk->cells[index % kCellsPerChunk];
  }
  Chunk* make_chunk(uint16_t index);

  static ChunkDirectory no_chunks_[kChunksMax];  // all null: what a shard nobody wrote to looks like
  ChunkDirectory* chunks_ = no_chunks_;
  StatBlock* block_ = nullptr;
  uint16_t shard_ = 0;
};

struct Tag {
  std::string name;   // "envoy.cluster_name"
  std::string value;
  bool operator==(const Tag&) const = default;
};

// How a block is called. The full name of a statistic is prefix + descriptor name ("cluster.foo." +
// "upstream_cx_total"); sinks that know tags see tag_extracted_prefix ("cluster.") and the tags instead. names.h makes
// those that Envoy has.
struct BlockName {
  std::string prefix;
  std::string tag_extracted_prefix;
  std::vector<Tag> tags;
};

class StoreIndex;

class StatBlock : public std::enable_shared_from_this<StatBlock> {
 public:
  StatBlock(const StatBlock&) = delete;
  StatBlock& operator=(const StatBlock&) = delete;
  ~StatBlock();

  const Schema& schema() const { return schema_; }
  std::string_view prefix() const { return std::string_view(names_).substr(0, prefix_size_); }
  std::string_view tag_extracted_prefix() const {
    return std::string_view(names_).substr(prefix_size_, extracted_size_);
  }
  std::vector<Tag> tags() const;

  StatShard shard(uint16_t shard) { return {this, shard}; }
  StatShard main_shard() { return shard(kMainShard); }
  StatShard worker(uint16_t worker) { return shard(worker_shard(worker)); }
  // For cold paths; hot ones keep a StatShard.
  void inc(uint16_t shard_id, uint16_t index, uint64_t n = 1) { shard(shard_id).inc(index, n); }
  void gauge_add(uint16_t shard_id, uint16_t index, int64_t n = 1) { shard(shard_id).gauge_add(index, n); }
  void gauge_sub(uint16_t shard_id, uint16_t index, int64_t n = 1) { shard(shard_id).gauge_sub(index, n); }
  void gauge_set(uint16_t shard_id, uint16_t index, int64_t value) { shard(shard_id).gauge_set(index, value); }
  void record(uint16_t shard_id, uint16_t index, uint64_t value) { shard(shard_id).record(index, value); }
  void inc_code(uint16_t shard_id, uint16_t index, uint16_t code) { shard(shard_id).inc_code(index, code); }
  void set_text(uint16_t index, std::string_view text);  // any thread; takes the store's lock

  // Reading, any thread.
  uint64_t counter(uint16_t index) const;  // since the last reset_counters()
  int64_t gauge(uint16_t index) const;
  std::string text(uint16_t index) const;
  bool used(uint16_t index) const;         // ever incremented, set or recorded
  using CodeCount = std::pair<uint16_t, uint64_t>;
  std::vector<CodeCount> codes(uint16_t index) const;  // ascending, since the last reset_counters()
  uint64_t code(uint16_t index, uint16_t code) const;
  Histogram histogram(uint16_t index) const;           // everything ever recorded
  Histogram histogram_interval(uint16_t index) const;  // recorded between the last two flushes
  // Heap and object bytes of this block, all shards, as asked of the allocator.
  size_t memory_bytes() const;

 private:
  friend class Store;
  friend class StatShard;
  friend class StoreIndex;
  struct Cold;  // what only scrapes, flushes and resets need; made when they first do

  StatBlock(std::shared_ptr<StoreIndex> index, const Schema& schema, const BlockName& name, uint16_t shards);
  uint16_t chunk_count() const {
    return static_cast<uint16_t>((schema_.stats.size() + kCellsPerChunk - 1) / kCellsPerChunk);
  }
  ChunkDirectory* directory(uint16_t shard);
  const Cell* find(uint16_t shard, uint16_t index) const;
  uint64_t raw_sum(uint16_t index) const;
  std::vector<CodeCount> raw_codes(uint16_t index) const;
  Cold& cold();
  void flush();
  void reset_counters();

  const Schema& schema_;
  std::shared_ptr<StoreIndex> index_;
  std::string names_;  // prefix, tag-extracted prefix, then each tag's name and value ended by '\0'
  uint32_t prefix_size_;
  uint32_t extracted_size_;
  uint16_t shards_count_;
  std::unique_ptr<std::atomic<ChunkDirectory*>[]> shards_;
  std::atomic<Cold*> cold_ = nullptr;  // what it points to is under the index's lock
};

using StatBlockPtr = std::shared_ptr<StatBlock>;

// Every block that is alive. Made by the main thread before the workers; any thread may call it.
class Store {
 public:
  explicit Store(uint16_t workers);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  uint16_t shard_count() const { return shards_; }
  // The block of that prefix and schema: the one alive, or a new one. The schema must live as long as the process.
  StatBlockPtr add_block(const Schema& schema, const BlockName& name);
  // Every block alive, in the order of their prefixes.
  std::vector<StatBlockPtr> blocks() const;
  size_t block_count() const;

  // Closes the histograms' interval; call every stats_flush_interval. flush_step() does the same for at most
  // `blocks_max` blocks and says whether more are left, so that many clusters do not hold up the loop.
  void flush();
  bool flush_step(size_t blocks_max);
  void reset_counters();
  size_t memory_bytes() const;

 private:
  uint16_t shards_;
  std::shared_ptr<StoreIndex> index_;
  std::vector<StatBlockPtr> flushing_;  // what the running flush has still to do
};

}  // namespace millrace::stats
