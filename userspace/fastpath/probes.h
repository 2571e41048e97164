// Proves by trial what the running kernel does with redirected bytes, at start and for `millrace fastpath selftest`.
// Each probe runs on sockets of its own over loopback, with programs of its own, attached to this process's cgroup
// while it runs; nothing else is touched. A probe that fails switches off its piece: hops or joined pairs, of one
// family.
//
// Some things the kernel cannot do for redirected bytes, on any version known. They are tried as well, so that the list
// stays true, and are what an app of an opted-in service must not do; they switch nothing off. Main thread, a tenth of
// a second.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fastpath/splice.h"

namespace millrace::fastpath {

enum class ProbeVerdict : uint8_t {
  kPassed,
  kFailed,   // its piece is off
  kLimited,  // the kernel cannot, as known; opted-in apps must not do it
  kSkipped,  // could not be tried; its piece is off
};
std::string_view name(ProbeVerdict verdict);

struct Probe {
  std::string name;      // "hop_v4.half_close"
  ProbeVerdict verdict = ProbeVerdict::kSkipped;
  std::string sentence;  // what was seen, or why it was skipped; empty: as it should be
};

struct ProbeReport {
  std::vector<Probe> probes;
  SplicePieces pieces{false, false, false, false};  // what may be used
  // One line for the log: what is off and which probe said so; empty if everything is on.
  std::string what_is_off() const;
};

ProbeReport run_splice_probes();

}  // namespace millrace::fastpath
