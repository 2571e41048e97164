// The command line: Envoy's flags with Envoy's meaning. What Envoy has and Millrace cannot do is refused with a
// sentence; what has no effect here is accepted.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"

namespace millrace {

enum class Mode : uint8_t { kServe, kValidate, kInitOnly };

struct Flags {
  std::string config_path, config_yaml;
  Mode mode = Mode::kServe;
  uint32_t concurrency = 0;  // 0: the CPUs this process may use
  std::string log_level = "info", component_log_level, log_path;
  std::string admin_address_path;
  std::string service_node, service_cluster, service_zone;
  uint32_t restart_epoch = 0;  // above 0: takes the fast path over from a daemon that has it
  base::seconds drain_time{600};
  base::milliseconds file_flush_interval{10'000};
  bool allow_unknown_static_fields = false;
  bool print_support = false;
  // As admin.v3.CommandLineOptions names and types them.
  std::vector<std::pair<std::string, std::variant<bool, uint64_t, std::string>>> as_given;
};

struct ParsedFlags {
  Flags flags;
  bool done = false;  // --help, --version or an error: exit with `code`, the text has been printed
  int code = 0;
};

ParsedFlags parse_flags(int argc, char** argv);
// CPUs by affinity, and by the cgroup's CPU quota, rounded up.
uint32_t usable_cpus();

}  // namespace millrace
