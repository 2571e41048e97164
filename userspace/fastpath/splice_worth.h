// Measures on this kernel and machine what it is worth to hand messages over, for the policy `auto`: what their system
// calls cost directly, through a proxy's two connections, over two hops, and joined. One thread makes all the calls,
// one after the other, so neither the scheduler nor other processes decide. On sockets of its own over loopback, in
// about a tenth of a second of this thread's time. Main thread, before the workers start.
#pragma once
#include <chrono>

#include "fastpath/splice.h"
#include "fastpath/splice_rule.h"

namespace millrace::fastpath {

// `limit`: after that it gives up, where the thread hardly gets a CPU.
SpliceWorth measure_splice_worth(const SplicePieces& pieces,
                                 std::chrono::milliseconds limit = std::chrono::seconds(2));

}  // namespace millrace::fastpath
