#include "sim/seeds.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

namespace millrace::sim {
namespace {

constexpr unsigned kSeedSecondsMax = 60;  // of real time: a loop that does not end

char failure_note[160];
int failure_note_size = 0;

void say_seed() { (void)!::write(STDERR_FILENO, failure_note, static_cast<size_t>(failure_note_size)); }

void on_crash(int signal) {
  say_seed();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void watch_crashes() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(say_seed);
#else
  std::signal(SIGSEGV, on_crash);
#endif
  std::signal(SIGABRT, on_crash);
  std::signal(SIGALRM, on_crash);
}

}  // namespace

void for_each_seed(uint64_t runs, const std::function<void(uint64_t seed)>& run) {
  uint64_t first = 1;
  if (const char* text = std::getenv("MILLRACE_SIM_RUNS"); text != nullptr) runs = std::strtoull(text, nullptr, 10);
  if (const char* text = std::getenv("MILLRACE_SIM_SEED"); text != nullptr) {
    first = std::strtoull(text, nullptr, 10);
    runs = 1;
  }
  watch_crashes();
  base::set_log_level(base::LogLevel::kError);  // faults are warned of
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    failure_note_size = std::snprintf(failure_note, sizeof failure_note,
                                      "\nsimulation failed: MILLRACE_SIM_SEED=%llu sim_tests --gtest_filter=%s.%s\n",
                                      static_cast<unsigned long long>(seed), test->test_suite_name(), test->name());
    ::alarm(kSeedSecondsMax);
    run(seed);
    ::alarm(0);
    if (testing::Test::HasFailure()) {
      say_seed();
      break;
    }
  }
  std::signal(SIGABRT, SIG_DFL);
}

Faults draw_faults(base::Prng& prng, bool calm) {
  const auto maybe = [&prng](uint32_t most) {
    return prng.below(2) == 0 ? 0 : static_cast<uint32_t>(prng.below(most + 1));
  };
  Faults faults;
  faults.stalls = maybe(3'000);
  faults.tiny = maybe(3'000);
  faults.multishot_ends = maybe(1'000);
  faults.accept_fails = maybe(2'000);  // connections wait, none is lost
  faults.latency_max = base::microseconds(1 + prng.below(prng.below(2) == 0 ? 50 : 20'000));
  faults.window_min = 64 + prng.below(4'096);
  faults.window_max = faults.window_min + 4'096 + prng.below(100'000);
  if (calm) return faults;
  faults.connect_refused = maybe(2'000);
  faults.connect_hangs = maybe(1'000);
  faults.connect_unreachable = maybe(1'000);
  faults.reset = maybe(150);
  faults.socket_fails = maybe(500);
  return faults;
}

}  // namespace millrace::sim
