#include "http/http2_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace millrace::http {
namespace {

constexpr size_t kStep = 32;            // bytes between two sizes
constexpr size_t kSizes = 32;           // up to 1 KiB; larger pieces are malloc's
constexpr size_t kKeptBytesMax = 4 << 20;

// In front of every piece; keeps it aligned as malloc's are.
struct alignas(16) Head {
  Head* next;
  size_t size_class;
};

struct FreeLists {
  ~FreeLists() {
    for (Head* head : lists) {
      while (head != nullptr) std::free(std::exchange(head, head->next));
    }
  }
  Head* lists[kSizes + 1] = {};
  size_t kept_bytes = 0;
};
thread_local FreeLists free_lists;

size_t class_of(size_t bytes) { return std::min((bytes + kStep - 1) / kStep, kSizes + 1); }

void* allocate(size_t bytes, void*) {
  const size_t size_class = class_of(bytes);
  if (size_class <= kSizes) {
    if (Head* head = free_lists.lists[size_class]; head != nullptr) {
      free_lists.lists[size_class] = head->next;
      free_lists.kept_bytes -= size_class * kStep;
      return head + 1;
    }
    bytes = size_class * kStep;
  }
  auto* head = static_cast<Head*>(std::malloc(sizeof(Head) + bytes));
  if (head == nullptr) return nullptr;
  head->size_class = size_class;
  return head + 1;
}

void release(void* piece, void*) {
  if (piece == nullptr) return;
  Head* head = static_cast<Head*>(piece) - 1;
  const size_t bytes = head->size_class * kStep;
  if (head->size_class > kSizes || free_lists.kept_bytes + bytes > kKeptBytesMax) return std::free(head);
  head->next = free_lists.lists[head->size_class];
  free_lists.lists[head->size_class] = head;
  free_lists.kept_bytes += bytes;
}

void* allocate_zeroed(size_t count, size_t bytes, void*) {
  size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) return nullptr;
  void* piece = allocate(all, nullptr);
  if (piece != nullptr) std::memset(piece, 0, all);
  return piece;
}

void* reallocate(void* piece, size_t bytes, void*) {
  if (piece == nullptr) return allocate(bytes, nullptr);
  Head* head = static_cast<Head*>(piece) - 1;
  if (head->size_class > kSizes) {  // and stays malloc's, whatever its size is now
    head = static_cast<Head*>(std::realloc(head, sizeof(Head) + bytes));
    return head == nullptr ? nullptr : head + 1;
  }
  const size_t has = head->size_class * kStep;
  if (bytes <= has) return piece;
  void* larger = allocate(bytes, nullptr);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, piece, has);
  release(piece, nullptr);
  return larger;
}

}  // namespace

nghttp2_mem* http2_memory() {
  static nghttp2_mem memory{nullptr, allocate, release, allocate_zeroed, reallocate};
  return &memory;
}

}  // namespace millrace::http
