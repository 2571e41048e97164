// Bytes on their way through a worker. A Buffer is a queue of slices, each a window of a reference-counted Block; bytes
// received into a block of the ring's pool travel to the send that carries them away without being copied. Owned by one
// thread: counts are plain integers and a block goes back to the pool of the thread that made it.
// Appended bytes are copied into the tail block while it has room and nobody else refers to it.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"

namespace millrace::base {

struct Block {
  uint8_t* data = nullptr;
  uint32_t capacity = 0;   // bytes
  uint32_t refs = 0;
  uint32_t id = 0;         // of use to the pool that owns it
  bool appendable = false; // a Buffer may write behind its last slice
  void (*release)(Block*) = nullptr;  // refs fell to 0
  void* owner = nullptr;
};

class BlockRef {
 public:
  BlockRef() = default;
  explicit BlockRef(Block* block) : block_(block) { if (block_ != nullptr) ++block_->refs; }
  BlockRef(const BlockRef& other) : BlockRef(other.block_) {}
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept { std::swap(block_, other.block_); return *this; }
  ~BlockRef() { reset(); }
  void reset() {
    if (block_ != nullptr && --block_->refs == 0) block_->release(block_);
    block_ = nullptr;
  }
  Block* get() const { return block_; }
  Block* operator->() const { return block_; }
  explicit operator bool() const { return block_ != nullptr; }

 private:
  Block* block_ = nullptr;
};

// A block of at least `capacity` bytes from the thread's free lists (4 KiB and 16 KiB) or the heap.
BlockRef make_block(size_t capacity);
// Bytes of heap blocks alive on this thread, and kept in its free lists.
struct BlockUsage { size_t live_bytes; size_t cached_bytes; };
BlockUsage block_usage();
// Gives the free lists of this thread back to the heap.
void trim_block_cache();

struct Slice {
  BlockRef block;
  uint8_t* begin = nullptr;
  uint8_t* end = nullptr;
  size_t size() const { return static_cast<size_t>(end - begin); }
  std::string_view view() const { return {reinterpret_cast<const char*>(begin), size()}; }
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { take(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) { clear(); release_storage(); take(other); }
    return *this;
  }
  ~Buffer() { clear(); release_storage(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t slice_count() const { return count_; }
  const Slice& slice(size_t i) const { MILLRACE_DCHECK(i < count_); return slices_[head_ + i]; }
  // The bytes of the first slice; empty when the buffer is.
  std::string_view front() const { return count_ == 0 ? std::string_view{} : slices_[head_].view(); }

  void append(std::string_view bytes) { append(bytes.data(), bytes.size()); }
  void append(const void* bytes, size_t n);
  void append(BlockRef block, uint8_t* begin, uint8_t* end);
  // Moves all of other, or its first n bytes, to the end of this buffer; no byte is copied.
  void move_from(Buffer& other);
  void move_from(Buffer& other, size_t n);
  // Adds other's bytes by reference to the same blocks; other keeps them.
  void share(const Buffer& other);
  // Moves all of other here, but copies small slices into the tail, so that a drip of small receives does not pin a
  // block each.
  void absorb(Buffer& other);
  // Copies what is here into one block of fitting size, letting go of the blocks that held it.
  void compact();
  // Room for n contiguous bytes at the end; commit() says how many were written. Pairs, nothing in between.
  char* reserve(size_t n);
  void commit(size_t n);
  void drain(size_t n);
  void clear();
  // Makes the first n bytes contiguous (copying them if they are not) and returns them; n <= size().
  std::string_view linearize(size_t n);
  // The block that holds the first byte, for those who keep views into it.
  BlockRef front_block() const { return count_ == 0 ? BlockRef{} : slices_[head_].block; }
  // Fills at most max vectors with the first bytes; returns how many, and adds their bytes to *bytes.
  size_t fill(iovec* vectors, size_t max, size_t* bytes) const;
  std::string to_string() const;

 private:
  static constexpr uint32_t kInlineSlices = 2;
  Slice& push_slot();
  void take(Buffer& other) noexcept;
  void release_storage();
  Slice* last() { return count_ == 0 ? nullptr : &slices_[head_ + count_ - 1]; }

  Slice inline_[kInlineSlices];
  Slice* slices_ = inline_;
  uint32_t capacity_ = kInlineSlices;
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace::base
