// Memory for private keys that a core dump leaves out: a region of its own, marked MADV_DONTDUMP. What BoringSSL
// allocates on a thread while a SecretScope lives there lies in it, all else that it allocates in ordinary memory. Both
// are wiped when freed, from any thread. Where the region cannot be had, or is full, keys lie in ordinary memory as
// well: worse, but no reason not to serve. BoringSSL finds its allocator by name (OPENSSL_memory_alloc and its two
// siblings, openssl/mem.h): they are defined here.
#pragma once
#include <cstddef>
#include <string>

namespace millrace::tls {

class SecretScope {
 public:
  SecretScope();
  SecretScope(const SecretScope&) = delete;
  SecretScope& operator=(const SecretScope&) = delete;
  ~SecretScope();
};

// Whether it is in the region that core dumps leave out.
bool is_secret_memory(const void* pointer);
// Overwrites the text with zeros, capacity and all, and leaves it as long as it is.
void wipe(std::string& text);
// Overwrites what earlier calls have left below on this thread's stack.
void wipe_stack();

}  // namespace millrace::tls
