#include "tls/secret_memory.h"

#include <malloc.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>

namespace millrace::tls {
namespace {

constexpr size_t kRegionBytes = size_t{256} << 20;  // of addresses; memory comes as it is used
constexpr size_t kHeaderBytes = 16;                 // the size asked for, and alignment
constexpr size_t kSmallestClass = 64;
constexpr size_t kClasses = 16;  // powers of two, up to 2 MiB

// AddressSanitizer watches over ordinary memory only, and takes for lost what is known to nobody else.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kWanted = false;
#else
constexpr bool kWanted = true;
#endif

thread_local int scopes = 0;

// Blocks of powers of two, kept for the next that needs one as big when they are freed. Made once, never destroyed:
// keys may outlive whatever else goes at the end of the process.
class Region {
 public:
  static Region& get() {
    static Region* const region = new Region();
    return *region;
  }

  bool contains(const void* pointer) const {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    return address >= begin_ && address < begin_ + kRegionBytes;
  }

  // Null: there is no room.
  void* allocate(size_t bytes) {
    const size_t size_class = class_of(bytes + kHeaderBytes);
    if (begin_ == kNowhere || size_class >= kClasses) return nullptr;
    const std::lock_guard lock(mutex_);
    char* block = free_[size_class];
    if (block != nullptr) {
      memcpy(&free_[size_class], block, sizeof block);
    } else {
      const size_t block_bytes = kSmallestClass << size_class;
      if (used_ + block_bytes > kRegionBytes) return nullptr;
      block = reinterpret_cast<char*>(begin_ + used_);
      used_ += block_bytes;
    }
    memcpy(block, &bytes, sizeof bytes);
    return block + kHeaderBytes;
  }

  void release(void* pointer) {
    char* const block = static_cast<char*>(pointer) - kHeaderBytes;
    const size_t size_class = class_of(size_of(pointer) + kHeaderBytes);
    explicit_bzero(block, kSmallestClass << size_class);
    const std::lock_guard lock(mutex_);
    memcpy(block, &free_[size_class], sizeof block);
    free_[size_class] = block;
  }

  static size_t size_of(const void* pointer) {
    size_t bytes = 0;
    memcpy(&bytes, static_cast<const char*>(pointer) - kHeaderBytes, sizeof bytes);
    return bytes;
  }

 private:
  static constexpr uintptr_t kNowhere = UINTPTR_MAX - kRegionBytes;

  Region() {
    if (!kWanted) return;
    void* const mapped = mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return;
    if (madvise(mapped, kRegionBytes, MADV_DONTDUMP) != 0) {
      munmap(mapped, kRegionBytes);
      return;
    }
    begin_ = reinterpret_cast<uintptr_t>(mapped);
  }

  static size_t class_of(size_t bytes) {
    return bytes <= kSmallestClass ? 0 : std::bit_width((bytes - 1) / kSmallestClass);
  }

  uintptr_t begin_ = kNowhere;
  std::mutex mutex_;
  size_t used_ = 0;
  std::array<char*, kClasses> free_{};
};

}  // namespace

SecretScope::SecretScope() { ++scopes; }

SecretScope::~SecretScope() { --scopes; }

bool is_secret_memory(const void* pointer) { return Region::get().contains(pointer); }

void wipe(std::string& text) { explicit_bzero(text.data(), text.capacity()); }

[[gnu::noinline]] void wipe_stack() {
  char below[16 * 1024];
  explicit_bzero(below, sizeof below);
}

}  // namespace millrace::tls

// Sizes of ordinary memory are those that malloc knows, so that they cost nothing to keep.
extern "C" {

[[gnu::visibility("default")]] void* OPENSSL_memory_alloc(size_t bytes) {
  if (millrace::tls::scopes > 0) {
    void* const secret = millrace::tls::Region::get().allocate(bytes);
    if (secret != nullptr) return secret;
  }
  return malloc(std::max<size_t>(bytes, 1));  // a block of no bytes has a usable size of one under ThreadSanitizer
}

[[gnu::visibility("default")]] void OPENSSL_memory_free(void* pointer) {
  millrace::tls::Region& region = millrace::tls::Region::get();
  if (region.contains(pointer)) return region.release(pointer);
  explicit_bzero(pointer, malloc_usable_size(pointer));
  free(pointer);
}

[[gnu::visibility("default")]] size_t OPENSSL_memory_get_size(void* pointer) {
  if (millrace::tls::Region::get().contains(pointer)) return millrace::tls::Region::size_of(pointer);
  return malloc_usable_size(pointer);
}
}
