#include "base/prng.h"

#include <sys/random.h>

#include "base/assert.h"

namespace millrace::base {

uint64_t random_seed() {
  uint64_t seed = 0;
  MILLRACE_ASSERT(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

}  // namespace millrace::base
