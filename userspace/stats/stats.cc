#include "stats/stats.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/assert.h"

namespace millrace::stats {

// The blocks alive, by prefix. Kept alive by the store and every block, since a scrape may outlive the store.
class StoreIndex {
 public:
  struct Key {
    std::string_view prefix;
    const Schema* schema;
    auto operator<=>(const Key&) const = default;
  };
  struct Less {
    using is_transparent = void;
    static Key key(const StatBlock* block) { return {block->prefix(), &block->schema()}; }
    static const Key& key(const Key& key) { return key; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const { return key(a) < key(b); }
  };
  std::mutex lock;
  std::set<StatBlock*, Less> blocks;
};

struct StatBlock::Cold {
  struct Series {
    Histogram last;
    Histogram interval;
  };
  // A few entries each, by descriptor; vectors, since every cluster in use has them.
  template <class T>
  struct Entries {
    struct Entry {
      uint16_t index;
      T value;
    };
    const T* find(uint16_t index) const {
      for (const Entry& entry : entries) {
        if (entry.index == index) return &entry.value;
      }
      return nullptr;
    }
    T& operator[](uint16_t index) {
      for (Entry& entry : entries) {
        if (entry.index == index) return entry.value;
      }
      entries.reserve(entries.size() + 1);
      entries.push_back({index, {}});
      return entries.back().value;
    }
    size_t memory_bytes() const { return entries.capacity() * sizeof(Entry); }
    std::vector<Entry> entries;
  };
  std::vector<uint64_t> counters_at_reset;  // [descriptor]
  Entries<std::vector<CodeCount>> codes_at_reset;
  Entries<Series> histograms;
  Entries<std::string> texts;
};

constinit ChunkDirectory StatShard::no_chunks_[kChunksMax] = {};

Chunk* StatShard::make_chunk(uint16_t index) {
  if (block_ == nullptr) {
    static thread_local Chunk swallowed;
    return &swallowed;
  }
  MILLRACE_DCHECK(index < block_->schema_.stats.size());
  chunks_ = block_->directory(shard_);
  ChunkDirectory& slot = chunks_[index / kCellsPerChunk];
  Chunk* chunk = slot.load(std::memory_order_relaxed);  // another handle of this shard may have made it
  if (chunk == nullptr) {
    chunk = new Chunk;
    slot.store(chunk, std::memory_order_release);
  }
  return chunk;
}

void StatShard::record(uint16_t index, uint64_t value) {
  if (block_ != nullptr) SparseCounts::add(cell(index), bin_of(value), 1, value);
}

void StatShard::inc_code(uint16_t index, uint16_t code, uint64_t n) {
  if (block_ != nullptr) SparseCounts::add(cell(index), code, n, n);
}

StatBlock::StatBlock(std::shared_ptr<StoreIndex> index, const Schema& schema, const BlockName& name, uint16_t shards)
    : schema_(schema),
      index_(std::move(index)),
      prefix_size_(static_cast<uint32_t>(name.prefix.size())),
      extracted_size_(static_cast<uint32_t>(name.tag_extracted_prefix.size())),
      shards_count_(shards),
      shards_(std::make_unique<std::atomic<ChunkDirectory*>[]>(shards)) {
  size_t size = name.prefix.size() + name.tag_extracted_prefix.size();
  for (const Tag& tag : name.tags) size += tag.name.size() + tag.value.size() + 2;
  names_.reserve(size);
  names_ += name.prefix;
  names_ += name.tag_extracted_prefix;
  for (const Tag& tag : name.tags) {
    names_ += tag.name;
    names_ += '\0';
    names_ += tag.value;
    names_ += '\0';
  }
}

StatBlock::~StatBlock() {
  {
    const std::lock_guard guard(index_->lock);
    const auto at = index_->blocks.find(StoreIndex::Less::key(this));
    if (at != index_->blocks.end() && *at == this) index_->blocks.erase(at);  // a successor may have our place
  }
  for (uint16_t s = 0; s < shards_count_; ++s) {
    ChunkDirectory* chunks = shards_[s].load(std::memory_order_acquire);
    if (chunks == nullptr) continue;
    for (uint16_t i = 0; i < schema_.stats.size(); ++i) {
      const Kind kind = schema_.stats[i].kind;
      Chunk* chunk = chunks[i / kCellsPerChunk].load(std::memory_order_acquire);
      if (chunk != nullptr && (kind == Kind::kHistogram || kind == Kind::kCodes))
        SparseCounts::destroy(chunk->cells[i % kCellsPerChunk]);
    }
    for (uint16_t c = 0; c < chunk_count(); ++c) delete chunks[c].load(std::memory_order_relaxed);
    delete[] chunks;
  }
  delete cold_.load(std::memory_order_acquire);
}

std::vector<Tag> StatBlock::tags() const {
  std::vector<Tag> tags;
  std::string_view rest = std::string_view(names_).substr(prefix_size_ + extracted_size_);
  const auto next = [&rest] {
    const size_t end = rest.find('\0');
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return std::string(word);
  };
  while (!rest.empty()) {
    std::string name = next();
    tags.push_back({std::move(name), next()});
  }
  return tags;
}

ChunkDirectory* StatBlock::directory(uint16_t shard) {
  MILLRACE_ASSERT(shard < shards_count_);
  ChunkDirectory* chunks = shards_[shard].load(std::memory_order_acquire);
  if (chunks == nullptr) {
    chunks = new ChunkDirectory[chunk_count()]();
    shards_[shard].store(chunks, std::memory_order_release);
  }
  return chunks;
}

const Cell* StatBlock::find(uint16_t shard, uint16_t index) const {
  const ChunkDirectory* chunks = shards_[shard].load(std::memory_order_acquire);
  if (chunks == nullptr) return nullptr;
  const Chunk* chunk = chunks[index / kCellsPerChunk].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk->cells[index % kCellsPerChunk];
}

uint64_t StatBlock::raw_sum(uint16_t index) const {
  uint64_t sum = 0;
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const Cell* cell = find(s, index);
    if (cell != nullptr) sum += cell->load(std::memory_order_relaxed);
  }
  return sum;
}

uint64_t StatBlock::counter(uint16_t index) const {
  uint64_t base = 0;
  if (cold_.load(std::memory_order_acquire) != nullptr) {
    const std::lock_guard guard(index_->lock);
    const Cold& cold = *cold_.load(std::memory_order_relaxed);
    if (!cold.counters_at_reset.empty()) base = cold.counters_at_reset[index];
  }
  return raw_sum(index) - base;
}

int64_t StatBlock::gauge(uint16_t index) const {
  int64_t sum = 0;
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const Cell* cell = find(s, index);
    if (cell != nullptr) sum += static_cast<int64_t>(cell->load(std::memory_order_relaxed)) >> 1;
  }
  return sum;
}

bool StatBlock::used(uint16_t index) const {
  switch (schema_.stats[index].kind) {
    case Kind::kTextReadout: return !text(index).empty();
    case Kind::kCounter:
    case Kind::kGauge:
    case Kind::kGaugeNeverImport:
    case Kind::kHistogram:
    case Kind::kCodes: break;
  }
  // A gauge that was set has its lowest bit, a table its address: in every case a cell in use is not 0.
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const Cell* cell = find(s, index);
    if (cell != nullptr && cell->load(std::memory_order_relaxed) != 0) return true;
  }
  return false;
}

void StatBlock::set_text(uint16_t index, std::string_view text) {
  const std::lock_guard guard(index_->lock);
  cold().texts[index] = text;
}

std::string StatBlock::text(uint16_t index) const {
  if (cold_.load(std::memory_order_acquire) == nullptr) return {};
  const std::lock_guard guard(index_->lock);
  const std::string* text = cold_.load(std::memory_order_relaxed)->texts.find(index);
  return text == nullptr ? std::string{} : *text;
}

std::vector<StatBlock::CodeCount> StatBlock::raw_codes(uint16_t index) const {
  std::vector<CodeCount> result;
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const Cell* cell = find(s, index);
    if (cell == nullptr) continue;
    SparseCounts::for_each(*cell, [&result](uint16_t code, uint64_t count) {
      const auto at = std::lower_bound(result.begin(), result.end(), code,
                                       [](const CodeCount& c, uint16_t v) { return c.first < v; });
      if (at != result.end() && at->first == code) {
        at->second += count;
      } else {
        result.insert(at, {code, count});
      }
    });
  }
  return result;
}

std::vector<StatBlock::CodeCount> StatBlock::codes(uint16_t index) const {
  std::vector<CodeCount> result = raw_codes(index);
  if (cold_.load(std::memory_order_acquire) == nullptr) return result;
  const std::lock_guard guard(index_->lock);
  const std::vector<CodeCount>* base = cold_.load(std::memory_order_relaxed)->codes_at_reset.find(index);
  if (base == nullptr) return result;
  for (CodeCount& now : result) {
    for (const CodeCount& then : *base) {
      if (then.first == now.first) now.second -= std::min(then.second, now.second);
    }
  }
  return result;
}

uint64_t StatBlock::code(uint16_t index, uint16_t code) const {
  for (const CodeCount& c : codes(index)) {
    if (c.first == code) return c.second;
  }
  return 0;
}

Histogram StatBlock::histogram(uint16_t index) const {
  Histogram result;
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const Cell* cell = find(s, index);
    if (cell == nullptr) continue;
    SparseCounts::for_each(*cell, [&result](uint16_t bin, uint64_t count) { result.add(bin, count); });
    result.add_sum(SparseCounts::sum(*cell));
  }
  return result;
}

Histogram StatBlock::histogram_interval(uint16_t index) const {
  if (cold_.load(std::memory_order_acquire) == nullptr) return {};
  const std::lock_guard guard(index_->lock);
  const Cold::Series* series = cold_.load(std::memory_order_relaxed)->histograms.find(index);
  return series == nullptr ? Histogram{} : series->interval;
}

StatBlock::Cold& StatBlock::cold() {
  Cold* cold = cold_.load(std::memory_order_relaxed);
  if (cold == nullptr) {
    cold = new Cold;
    cold_.store(cold, std::memory_order_release);
  }
  return *cold;
}

void StatBlock::flush() {
  for (uint16_t i = 0; i < schema_.stats.size(); ++i) {
    if (schema_.stats[i].kind != Kind::kHistogram || !used(i)) continue;
    Histogram now = histogram(i);
    now.shrink();
    const std::lock_guard guard(index_->lock);
    Cold::Series& series = cold().histograms[i];
    series.interval = now.since(series.last);
    series.interval.shrink();
    series.last = std::move(now);
  }
}

void StatBlock::reset_counters() {
  const std::lock_guard guard(index_->lock);
  std::vector<uint64_t> base(schema_.stats.size());
  for (uint16_t i = 0; i < schema_.stats.size(); ++i) {
    if (schema_.stats[i].kind == Kind::kCounter) base[i] = raw_sum(i);
    if (schema_.stats[i].kind != Kind::kCodes) continue;
    std::vector<CodeCount> codes = raw_codes(i);
    if (!codes.empty()) cold().codes_at_reset[i] = std::move(codes);
  }
  if (std::any_of(base.begin(), base.end(), [](uint64_t n) { return n != 0; }))
    cold().counters_at_reset = std::move(base);
}

size_t StatBlock::memory_bytes() const {
  constexpr size_t kMapNode = 40;    // glibc++: colour and three links, before the value
  constexpr size_t kSharedCount = 24;
  size_t bytes = sizeof(*this) + kSharedCount + kMapNode + names_.capacity() + shards_count_ * sizeof(shards_[0]);
  for (uint16_t s = 0; s < shards_count_; ++s) {
    const ChunkDirectory* chunks = shards_[s].load(std::memory_order_acquire);
    if (chunks == nullptr) continue;
    bytes += chunk_count() * sizeof(ChunkDirectory);
    for (uint16_t c = 0; c < chunk_count(); ++c) {
      if (chunks[c].load(std::memory_order_relaxed) != nullptr) bytes += sizeof(Chunk);
    }
    for (uint16_t i = 0; i < schema_.stats.size(); ++i) {
      const Kind kind = schema_.stats[i].kind;
      const Cell* cell = kind == Kind::kHistogram || kind == Kind::kCodes ? find(s, i) : nullptr;
      if (cell != nullptr) bytes += SparseCounts::memory_bytes(*cell);
    }
  }
  if (cold_.load(std::memory_order_acquire) == nullptr) return bytes;
  const std::lock_guard guard(index_->lock);
  const Cold& cold = *cold_.load(std::memory_order_relaxed);
  bytes += sizeof(Cold) + cold.counters_at_reset.capacity() * sizeof(uint64_t);
  bytes += cold.codes_at_reset.memory_bytes() + cold.histograms.memory_bytes() + cold.texts.memory_bytes();
  for (const auto& codes : cold.codes_at_reset.entries) bytes += codes.value.capacity() * sizeof(CodeCount);
  for (const auto& series : cold.histograms.entries)
    bytes += series.value.last.memory_bytes() + series.value.interval.memory_bytes();
  for (const auto& text : cold.texts.entries) bytes += text.value.capacity();
  return bytes;
}

Store::Store(uint16_t workers) : shards_(worker_shard(workers)), index_(std::make_shared<StoreIndex>()) {}
Store::~Store() = default;

StatBlockPtr Store::add_block(const Schema& schema, const BlockName& name) {
  const std::lock_guard guard(index_->lock);
  const auto at = index_->blocks.find(StoreIndex::Key{name.prefix, &schema});
  if (at != index_->blocks.end()) {
    if (StatBlockPtr alive = (*at)->weak_from_this().lock()) return alive;
    index_->blocks.erase(at);  // its destructor waits for our lock
  }
  StatBlockPtr block(new StatBlock(index_, schema, name, shards_));
  index_->blocks.insert(block.get());
  return block;
}

std::vector<StatBlockPtr> Store::blocks() const {
  std::vector<StatBlockPtr> result;
  const std::lock_guard guard(index_->lock);
  result.reserve(index_->blocks.size());
  for (StatBlock* block : index_->blocks) {
    if (StatBlockPtr alive = block->weak_from_this().lock()) result.push_back(std::move(alive));
  }
  return result;
}

size_t Store::block_count() const {
  const std::lock_guard guard(index_->lock);
  return index_->blocks.size();
}

bool Store::flush_step(size_t blocks_max) {
  if (flushing_.empty()) flushing_ = blocks();
  for (; blocks_max > 0 && !flushing_.empty(); --blocks_max) {
    flushing_.back()->flush();
    flushing_.pop_back();
  }
  return !flushing_.empty();
}

void Store::flush() {
  while (flush_step(SIZE_MAX)) {
  }
}

void Store::reset_counters() {
  for (const StatBlockPtr& block : blocks()) block->reset_counters();
}

size_t Store::memory_bytes() const {
  size_t bytes = 0;
  for (const StatBlockPtr& block : blocks()) bytes += block->memory_bytes();
  return bytes;
}

}  // namespace millrace::stats
