#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace millrace::base {

void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "millrace: assertion failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace millrace::base
