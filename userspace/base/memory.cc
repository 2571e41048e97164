#include "base/memory.h"

#include <unistd.h>

#include <cstdio>

namespace millrace::base {

// The second number of /proc/self/statm, in pages.
uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long resident = 0;
  const int read = std::fscanf(file, "%*u %lu", &resident);
  std::fclose(file);
  return read == 1 ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace millrace::base
