#include "base/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

namespace millrace::base {
namespace {

constexpr size_t kSmallBlock = 4096;
constexpr size_t kLargeBlock = 16384;
constexpr size_t kCachedBlocksMax = 256;  // per size: at most 1 MiB and 4 MiB kept

struct BlockCache {
  std::vector<Block*> small, large;
  size_t live_bytes = 0;
  ~BlockCache() { trim(); }
  void trim() {
    for (std::vector<Block*>* list : {&small, &large}) {
      for (Block* block : *list) destroy(block);
      list->clear();
    }
  }
  static void destroy(Block* block) {
    block->~Block();
    std::free(block);
  }
};

thread_local BlockCache cache;

void release_heap_block(Block* block) {
  cache.live_bytes -= block->capacity;
  std::vector<Block*>* list = block->capacity == kSmallBlock   ? &cache.small
                              : block->capacity == kLargeBlock ? &cache.large
                                                               : nullptr;
  if (list != nullptr && list->size() < kCachedBlocksMax) {
    list->push_back(block);
    return;
  }
  BlockCache::destroy(block);
}

}  // namespace

BlockRef make_block(size_t capacity) {
  capacity = capacity <= kSmallBlock ? kSmallBlock : capacity <= kLargeBlock ? kLargeBlock : capacity;
  MILLRACE_ASSERT(capacity <= UINT32_MAX);
  std::vector<Block*>* list = capacity == kSmallBlock   ? &cache.small
                              : capacity == kLargeBlock ? &cache.large
                                                        : nullptr;
  cache.live_bytes += capacity;
  if (list != nullptr && !list->empty()) {
    Block* block = list->back();
    list->pop_back();
    return BlockRef(block);
  }
  void* memory = std::malloc(sizeof(Block) + capacity);
  if (memory == nullptr) throw std::bad_alloc();
  Block* block = new (memory) Block;
  block->data = static_cast<uint8_t*>(memory) + sizeof(Block);
  block->capacity = static_cast<uint32_t>(capacity);
  block->appendable = true;
  block->release = release_heap_block;
  return BlockRef(block);
}

BlockUsage block_usage() {
  return {cache.live_bytes, cache.small.size() * kSmallBlock + cache.large.size() * kLargeBlock};
}

void trim_block_cache() { cache.trim(); }

void Buffer::take(Buffer& other) noexcept {
  if (other.slices_ == other.inline_) {
    for (uint32_t i = 0; i < other.count_; ++i) inline_[i] = std::move(other.inline_[other.head_ + i]);
    slices_ = inline_;
    capacity_ = kInlineSlices;
    head_ = 0;
  } else {
    slices_ = other.slices_;
    capacity_ = other.capacity_;
    head_ = other.head_;
    other.slices_ = other.inline_;
    other.capacity_ = kInlineSlices;
  }
  count_ = other.count_;
  size_ = other.size_;
  other.head_ = other.count_ = 0;
  other.size_ = 0;
}

void Buffer::release_storage() {
  if (slices_ != inline_) delete[] slices_;
  slices_ = inline_;
  capacity_ = kInlineSlices;
  head_ = 0;
}

Slice& Buffer::push_slot() {
  if (head_ + count_ == capacity_) {
    if (head_ > 0 && count_ <= capacity_ / 2) {
      std::move(slices_ + head_, slices_ + head_ + count_, slices_);
    } else {
      const uint32_t capacity = capacity_ * 2;
      Slice* grown = new Slice[capacity];
      std::move(slices_ + head_, slices_ + head_ + count_, grown);
      if (slices_ != inline_) delete[] slices_;
      slices_ = grown;
      capacity_ = capacity;
    }
    head_ = 0;
  }
  return slices_[head_ + count_++];
}

void Buffer::append(const void* bytes, size_t n) {
  const uint8_t* from = static_cast<const uint8_t*>(bytes);
  while (n > 0) {
    Slice* tail = last();
    size_t room = 0;
    if (tail != nullptr && tail->block->appendable && tail->block->refs == 1) {
      room = static_cast<size_t>(tail->block->data + tail->block->capacity - tail->end);
    }
    if (room == 0) {
      BlockRef block = make_block(std::min<size_t>(n, kLargeBlock));
      uint8_t* start = block->data;
      append(std::move(block), start, start);
      continue;
    }
    const size_t part = std::min(room, n);
    std::memcpy(tail->end, from, part);
    tail->end += part;
    size_ += part;
    from += part;
    n -= part;
  }
}

void Buffer::append(BlockRef block, uint8_t* begin, uint8_t* end) {
  Slice& slot = push_slot();
  slot.block = std::move(block);
  slot.begin = begin;
  slot.end = end;
  size_ += static_cast<size_t>(end - begin);
}

void Buffer::move_from(Buffer& other) {
  if (empty() && count_ == 0) {
    *this = std::move(other);
    return;
  }
  for (uint32_t i = 0; i < other.count_; ++i) {
    Slice& s = other.slices_[other.head_ + i];
    if (s.size() == 0) { s.block.reset(); continue; }
    uint8_t *begin = s.begin, *end = s.end;
    append(std::move(s.block), begin, end);
  }
  other.count_ = other.head_ = 0;
  other.size_ = 0;
}

void Buffer::move_from(Buffer& other, size_t n) {
  MILLRACE_DCHECK(n <= other.size_);
  if (n == other.size_) return move_from(other);
  while (n > 0) {
    Slice& s = other.slices_[other.head_];
    const size_t part = std::min(n, s.size());
    if (part > 0) append(s.block, s.begin, s.begin + part);
    other.drain(part);
    n -= part;
  }
}

void Buffer::share(const Buffer& other) {
  for (uint32_t i = 0; i < other.count_; ++i) {
    const Slice& s = other.slices_[other.head_ + i];
    if (s.size() > 0) append(s.block, s.begin, s.end);
  }
}

void Buffer::absorb(Buffer& other) {
  constexpr size_t kCopyBytes = 1024;
  if (empty()) return move_from(other);
  for (uint32_t i = 0; i < other.count_; ++i) {
    Slice& s = other.slices_[other.head_ + i];
    if (s.size() <= kCopyBytes) {
      append(s.begin, s.size());
      s.block.reset();
    } else {
      uint8_t *begin = s.begin, *end = s.end;
      append(std::move(s.block), begin, end);
    }
  }
  other.count_ = other.head_ = 0;
  other.size_ = 0;
}

void Buffer::compact() {
  if (empty() || (count_ == 1 && slices_[head_].block->appendable)) return;
  Buffer packed;
  packed.reserve(size_);
  for (uint32_t i = 0; i < count_; ++i) packed.append(slices_[head_ + i].view());
  *this = std::move(packed);
}

char* Buffer::reserve(size_t n) {
  Slice* tail = last();
  if (tail == nullptr || !tail->block->appendable || tail->block->refs != 1 ||
      static_cast<size_t>(tail->block->data + tail->block->capacity - tail->end) < n) {
    BlockRef block = make_block(n);
    uint8_t* start = block->data;
    append(std::move(block), start, start);
    tail = last();
  }
  return reinterpret_cast<char*>(tail->end);
}

void Buffer::commit(size_t n) {
  last()->end += n;
  size_ += n;
}

void Buffer::drain(size_t n) {
  MILLRACE_DCHECK(n <= size_);
  size_ -= n;
  while (count_ > 0) {
    Slice& s = slices_[head_];
    const size_t part = std::min(n, s.size());
    s.begin += part;
    n -= part;
    if (s.begin != s.end) break;
    s.block.reset();
    ++head_;
    --count_;
  }
  if (count_ == 0) head_ = 0;
}

void Buffer::clear() {
  for (uint32_t i = 0; i < count_; ++i) slices_[head_ + i].block.reset();
  head_ = count_ = 0;
  size_ = 0;
}

std::string_view Buffer::linearize(size_t n) {
  MILLRACE_DCHECK(n <= size_);
  if (n == 0) return {};
  while (slices_[head_].size() == 0) drain(0);
  if (slices_[head_].size() >= n) return {reinterpret_cast<const char*>(slices_[head_].begin), n};
  BlockRef block = make_block(n);
  uint8_t* at = block->data;
  size_t left = n;
  while (left > 0) {
    const size_t part = std::min(left, slices_[head_].size());
    std::memcpy(at, slices_[head_].begin, part);
    at += part;
    left -= part;
    drain(part);
  }
  // There is now a free slot before head_ (two slices at least were touched), or the buffer is empty.
  if (count_ == 0) {
    append(block, block->data, at);
  } else {
    if (head_ == 0) {  // the last slice touched was only partly drained and is still at the front
      push_slot();
      std::move_backward(slices_ + head_, slices_ + head_ + count_ - 1, slices_ + head_ + count_);
      head_ += 1;
      count_ -= 1;
    }
    --head_;
    ++count_;
    slices_[head_].block = block;
    slices_[head_].begin = block->data;
    slices_[head_].end = at;
    size_ += n;
  }
  return {reinterpret_cast<const char*>(block->data), n};
}

size_t Buffer::fill(iovec* vectors, size_t max, size_t* bytes) const {
  size_t n = 0;
  for (uint32_t i = 0; i < count_ && n < max; ++i) {
    const Slice& s = slices_[head_ + i];
    if (s.size() == 0) continue;
    vectors[n].iov_base = s.begin;
    vectors[n].iov_len = s.size();
    *bytes += s.size();
    ++n;
  }
  return n;
}

std::string Buffer::to_string() const {
  std::string out;
  out.reserve(size_);
  for (uint32_t i = 0; i < count_; ++i) out.append(slices_[head_ + i].view());
  return out;
}

}  // namespace millrace::base
