// The rules of capture, compiled to what the connect programs look up. compile() is pure but for opening the cgroups
// that rules name; write_rules() fills the maps of one load of the program. Main thread.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fastpath/options.h"
#include "fp_steering.h"

namespace millrace::fastpath {

struct CaptureRules {
  fp_capture_settings settings{};
  std::vector<uint64_t> port_words;  // bit n of word k: port 64 k + n is wanted
  std::vector<std::pair<fp_prefix, uint32_t>> addresses;
  std::vector<std::pair<uint32_t, uint32_t>> users;
  std::vector<std::pair<uint64_t, uint32_t>> cgroups;

  static base::Result<CaptureRules> compile(const CaptureOptions& options);
};

struct CaptureMaps {
  int ports = -1, addresses = -1, users = -1, cgroups = -1;
};
base::Result<void> write_rules(const CaptureRules& rules, const CaptureMaps& maps);

}  // namespace millrace::fastpath
