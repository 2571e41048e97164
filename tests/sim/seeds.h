// Runs a simulation for many seeds. MILLRACE_SIM_SEED=n runs that one only, MILLRACE_SIM_RUNS=n that many. A
// failure, a crash or a sanitizer's report says which seed it was.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>

#include "base/prng.h"
#include "sim/network.h"

namespace millrace::sim {

void for_each_seed(uint64_t runs, const std::function<void(uint64_t seed)>& run);

// What may go wrong in the run of a seed. calm: nothing that breaks a connection, only delays and odd orders.
Faults draw_faults(base::Prng& prng, bool calm);

}  // namespace millrace::sim
