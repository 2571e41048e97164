#include "main/flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>

namespace millrace {
namespace {

// Flags of Envoy that ask for what Millrace does not do.
struct Refused {
  const char* name;
  bool takes_value;
  const char* why;
};
constexpr Refused kRefused[] = {
    {"--reject-unknown-dynamic-fields", false, "there is no dynamic configuration yet"},
    {"--enable-mutex-tracing", false, "workers share no mutexes to trace"},
    {"--enable-core-dump", false, "core dumps are the service manager's business: LimitCORE= or ulimit -c"},
    {"--cpuset-threads", false,
     "--concurrency already defaults to the CPUs of the affinity mask and the cgroup's quota"},
    {"--log-format", true, "the log has one format; access logs have formats"},
    {"--stats-tag", true, "statistics carry Envoy's default tags only"},
    {"--disable-extensions", true, "extensions cannot be switched off one by one"},
};

// Flags of Envoy that change nothing here: sockets and statistics are not handed over, and there is one drain strategy.
constexpr const char* kNoEffectWithValue[] = {
    "--base-id", "--base-id-path", "--parent-shutdown-time-s", "--socket-path", "--socket-mode",
    "--drain-strategy", "--local-address-ip-version", "--file-flush-min-size-kb", "--max-stats", "--max-obj-name-len"};
constexpr const char* kNoEffect[] = {"--disable-hot-restart",     "--use-dynamic-base-id",
                                     "--skip-hot-restart-on-no-parent", "--skip-hot-restart-parent-stats",
                                     "--hot-restart-version",     "--enable-fine-grain-logging",
                                     "--ignore-unknown-dynamic-fields", "--skip-deprecated-logs",
                                     "--log-format-escaped"};

double cgroup_quota() {
  const auto read_v2 = [](const std::string& path) -> double {
    std::ifstream file(path);
    std::string quota;
    double period = 0;
    if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
    return std::atof(quota.c_str()) / period;
  };
  const auto read_v1 = [](const std::string& folder) -> double {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
    double quota = 0, period = 0;
    if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return 0;
    return quota / period;
  };
  // Our own group, and every one above it: the tightest counts.
  double tightest = 0;
  const auto take = [&](double quota) {
    if (quota > 0) tightest = tightest == 0 ? quota : std::min(tightest, quota);
  };
  std::ifstream self("/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    for (;;) {
      if (controllers.empty()) {
        take(read_v2("/sys/fs/cgroup" + group + "/cpu.max"));
        take(read_v2("/sys/fs/cgroup/unified" + group + "/cpu.max"));
      } else if (controllers.find("cpu") != std::string::npos) {
        take(read_v1("/sys/fs/cgroup/cpu" + group));
      }
      const size_t slash = group.rfind('/');
      if (slash == std::string::npos || group == "/" || group.empty()) break;
      group.erase(slash);
    }
  }
  return tightest;
}

void add_ignored(CLI::App& app) {
  for (const char* name : kNoEffectWithValue) {
    app.add_option_function<std::string>(
           name, [](const std::string&) {}, "accepted, no effect: no hot restart")
        ->group("");
  }
  for (const char* name : kNoEffect) {
    app.add_flag_callback(name, [] {}, "accepted, no effect")->group("");
  }
  for (const Refused& refused : kRefused) {
    const auto refuse = [&refused] {
      throw CLI::ValidationError(refused.name, fmt::format("is Envoy's and not Millrace's: {}", refused.why));
    };
    if (refused.takes_value) {
      app.add_option_function<std::string>(refused.name, [refuse](const std::string&) { refuse(); })->group("");
    } else {
      app.add_flag_callback(refused.name, refuse)->group("");
    }
  }
}

void note_options(Flags& flags) {
  auto& given = flags.as_given;
  given.emplace_back("concurrency", static_cast<uint64_t>(flags.concurrency));
  given.emplace_back("config_path", flags.config_path);
  given.emplace_back("config_yaml", flags.config_yaml);
  given.emplace_back("allow_unknown_static_fields", flags.allow_unknown_static_fields);
  given.emplace_back("admin_address_path", flags.admin_address_path);
  given.emplace_back("log_level", flags.log_level);
  given.emplace_back("component_log_level", flags.component_log_level);
  given.emplace_back("log_path", flags.log_path);
  given.emplace_back("service_cluster", flags.service_cluster);
  given.emplace_back("service_node", flags.service_node);
  given.emplace_back("service_zone", flags.service_zone);
  given.emplace_back("file_flush_interval",
                     fmt::format("{:.3f}s", static_cast<double>(flags.file_flush_interval.count()) / 1000));
  given.emplace_back("drain_time", fmt::format("{}s", flags.drain_time.count()));
  given.emplace_back("restart_epoch", static_cast<uint64_t>(flags.restart_epoch));
  given.emplace_back("mode", std::string(flags.mode == Mode::kServe      ? "Serve"
                                         : flags.mode == Mode::kValidate ? "Validate"
                                                                         : "InitOnly"));
}

}  // namespace

uint32_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  uint32_t cpus = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = static_cast<uint32_t>(CPU_COUNT(&set));
  if (const double quota = cgroup_quota(); quota > 0) {
    cpus = std::min(cpus, static_cast<uint32_t>(std::max(1.0, std::ceil(quota))));
  }
  return std::max(cpus, 1u);
}

ParsedFlags parse_flags(int argc, char** argv) {
  ParsedFlags out;
  Flags& f = out.flags;
  CLI::App app("Millrace: an Envoy-v3-compatible proxy on io_uring", "millrace");
  int64_t drain_s = f.drain_time.count();
  int64_t flush_ms = f.file_flush_interval.count();
  const std::map<std::string, Mode> modes{
      {"serve", Mode::kServe}, {"validate", Mode::kValidate}, {"init_only", Mode::kInitOnly}};
  app.add_option("-c,--config-path", f.config_path, "bootstrap: .yaml, .json, .pb or .pb_text");
  app.add_option("--config-yaml", f.config_yaml, "bootstrap as YAML, merged over the file");
  app.add_option("--mode", f.mode,
                 "serve, validate (check the configuration and exit) or init_only (set everything up and exit)")
      ->transform(CLI::CheckedTransformer(modes, CLI::ignore_case));
  app.add_option("--concurrency", f.concurrency, "workers; default: the CPUs this process may use")
      ->check(CLI::Range(1u, 4096u));
  app.add_option("-l,--log-level", f.log_level, "trace, debug, info, warning, error, critical or off")
      ->capture_default_str();
  app.add_option("--component-log-level", f.component_log_level, "component:level,component:level");
  app.add_option("--log-path", f.log_path, "log file; default: stderr");
  app.add_option("--admin-address-path", f.admin_address_path, "file to write the admin address to");
  app.add_option("--service-node", f.service_node, "node.id");
  app.add_option("--service-cluster", f.service_cluster, "node.cluster");
  app.add_option("--service-zone", f.service_zone, "node.locality.zone");
  app.add_option("--restart-epoch", f.restart_epoch,
                 "above 0: started beside a daemon that is to go, takes the kernel fast path over from it")
      ->capture_default_str();
  app.add_option("--drain-time-s", drain_s, "longest drain, in seconds")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--file-flush-interval-msec", flush_ms, "flush access logs that often")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--allow-unknown-static-fields,--allow-unknown-fields", f.allow_unknown_static_fields,
               "fields nobody knows are warnings");
  app.add_flag("--print-support", f.print_support, "print what of Envoy's API is supported, as Markdown, and exit");
  bool version = false;
  app.add_flag("--version", version, "print the version and exit");
  add_ignored(app);
  out.done = true;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    out.code = app.exit(e) == 0 ? 0 : 1;
    return out;
  }
  if (version) {
    std::cout << "millrace  version: " MILLRACE_VERSION "\n";
    return out;
  }
  f.drain_time = base::seconds(drain_s);
  f.file_flush_interval = base::milliseconds(flush_ms);
  if (f.concurrency == 0) f.concurrency = usable_cpus();
  note_options(f);
  out.done = false;
  return out;
}

}  // namespace millrace
