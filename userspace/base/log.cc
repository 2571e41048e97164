#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <memory>
#include <mutex>

namespace millrace::base {
namespace {

constexpr std::array<std::string_view, 7> kLevelNames{"trace", "debug", "info", "warning", "error", "critical", "off"};

std::array<LogComponent, 16>& components() {
  static std::array<LogComponent, 16> all{{
      {"main", LogLevel::kInfo},     {"config", LogLevel::kInfo},   {"admin", LogLevel::kInfo},
      {"io", LogLevel::kInfo},       {"connection", LogLevel::kInfo}, {"http", LogLevel::kInfo},
      {"filter", LogLevel::kInfo},   {"router", LogLevel::kInfo},   {"upstream", LogLevel::kInfo},
      {"pool", LogLevel::kInfo},     {"health_checker", LogLevel::kInfo}, {"runtime", LogLevel::kInfo},
      {"stats", LogLevel::kInfo},    {"tls", LogLevel::kInfo},      {"fastpath", LogLevel::kInfo},
      {"access_log", LogLevel::kInfo},
  }};
  return all;
}

struct Output {
  std::mutex mutex;
  std::string path;
  std::shared_ptr<spdlog::logger> logger = make_stderr();

  static std::shared_ptr<spdlog::logger> make_stderr() {
    return configure(std::make_shared<spdlog::logger>("millrace", std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  }
  static std::shared_ptr<spdlog::logger> configure(std::shared_ptr<spdlog::logger> logger) {
    logger->set_pattern("[%Y-%m-%d %T.%e][%t][%l]%v");
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
    return logger;
  }
};

Output& output() {
  static Output* instance = new Output;  // outlives every thread that may log at exit
  return *instance;
}

Result<void> open_file(Output& out, const std::string& path) {
  try {
    out.logger = path.empty()
                     ? Output::make_stderr()
                     : Output::configure(std::make_shared<spdlog::logger>(
                           "millrace", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path)));
    out.path = path;
  } catch (const spdlog::spdlog_ex& e) {
    return Error{ErrorCode::kIo, Side::kInternal, 0, fmt::format("cannot open log file '{}': {}", path, e.what())};
  }
  return {};
}

}  // namespace

std::string_view name(LogLevel level) { return kLevelNames[static_cast<size_t>(level)]; }

Result<LogLevel> parse_log_level(std::string_view text) {
  if (text == "warn") return LogLevel::kWarn;
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == text) return static_cast<LogLevel>(i);
  }
  return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0,
               fmt::format("unknown log level '{}': use trace, debug, info, warning, error, critical or off", text)};
}

LogComponent& log_component(std::string_view component) {
  for (LogComponent& c : components()) {
    if (c.name == component) return c;
  }
  return components()[0];
}

std::vector<LogComponent*> log_components() {
  std::vector<LogComponent*> all;
  for (LogComponent& c : components()) all.push_back(&c);
  return all;
}

void set_log_level(LogLevel level) {
  for (LogComponent& c : components()) c.level.store(level, std::memory_order_relaxed);
}

Result<void> set_log_level(std::string_view component, LogLevel level) {
  for (LogComponent& c : components()) {
    if (c.name != component) continue;
    c.level.store(level, std::memory_order_relaxed);
    return {};
  }
  return Error{ErrorCode::kNotFound, Side::kInternal, 0, fmt::format("unknown logger '{}'", component)};
}

Result<void> set_log_file(const std::string& path) {
  Output& out = output();
  std::lock_guard lock(out.mutex);
  return open_file(out, path);
}

void reopen_log() {
  Output& out = output();
  std::lock_guard lock(out.mutex);
  if (out.path.empty()) return;
  if (Result<void> reopened = open_file(out, out.path); !reopened.ok()) out.logger->error("{}", reopened.error().what);
}

void write_log(LogLevel level, std::string_view component, std::string_view line) {
  Output& out = output();
  std::shared_ptr<spdlog::logger> logger;
  {
    std::lock_guard lock(out.mutex);
    logger = out.logger;
  }
  logger->log(static_cast<spdlog::level::level_enum>(level), "[{}] {}", component, line);
}

}  // namespace millrace::base
