// Time. Monotonic time drives timers and durations, system time is for logs and the Date header only. Both come from
// the loop's cached reading on hot paths (io::Loop::now()), so that a simulated loop can supply its own.
#pragma once
#include <chrono>

namespace millrace::base {

using Clock = std::chrono::steady_clock;
using MonotonicTime = Clock::time_point;
using SystemTime = std::chrono::system_clock::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

}  // namespace millrace::base
