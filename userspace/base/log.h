// The process's own log (not access logs): MILLRACE_LOG(kInfo, "upstream", "cluster {} added", name). Components are
// short room names; each has its own level, changed at run time through /logging. Any thread; a disabled level costs
// one relaxed load. Lines go to stderr or --log-path; reopen() serves SIGUSR1.
#pragma once
#include <fmt/format.h>

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::base {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kCritical, kOff };

struct LogComponent {
  std::string_view name;
  std::atomic<LogLevel> level;
};

Result<LogLevel> parse_log_level(std::string_view name);
std::string_view name(LogLevel level);
// The component of that name; unknown names fall to "main". Constant address for the life of the process.
LogComponent& log_component(std::string_view name);
std::vector<LogComponent*> log_components();
void set_log_level(LogLevel level);                             // of every component
Result<void> set_log_level(std::string_view component, LogLevel level);
Result<void> set_log_file(const std::string& path);             // empty: stderr
void reopen_log();
void write_log(LogLevel level, std::string_view component, std::string_view line);

}  // namespace millrace::base

#define MILLRACE_LOG(level_, component_, ...)                                                              \
  do {                                                                                                     \
    static ::millrace::base::LogComponent& millrace_log_component_ =                                       \
        ::millrace::base::log_component(component_);                                                       \
    if (::millrace::base::LogLevel::level_ >= millrace_log_component_.level.load(std::memory_order_relaxed)) \
      ::millrace::base::write_log(::millrace::base::LogLevel::level_, component_, fmt::format(__VA_ARGS__)); \
  } while (0)
