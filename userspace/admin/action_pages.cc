// What changes the server; POST only.
#include <fmt/format.h>

#include <iterator>
#include <vector>

#include "admin/pages.h"
#include "base/log.h"
#include "stats/stats.h"

namespace millrace::admin {
namespace {

Response ok() { return Response::make(200, "OK\n"); }
Response not_here() { return Response::make(501, "This server cannot do that.\n"); }

using Change = std::pair<std::string, std::string>;  // logger, level

base::Error invalid(std::string what) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kDownstream, 0, std::move(what)};
}

// "name:level,name:level"
base::Result<std::vector<Change>> parse_paths(std::string_view text) {
  std::vector<Change> changes;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(part.size() < text.size() ? part.size() + 1 : part.size());
    if (part.empty()) continue;
    const size_t colon = part.find(':');
    if (colon == 0 || colon == std::string_view::npos || colon + 1 == part.size())
      return invalid(fmt::format("'{}' is not name:level", part));
    changes.emplace_back(part.substr(0, colon), part.substr(colon + 1));
  }
  return changes;
}

// All or nothing: every name and level is checked before the first change.
base::Result<void> apply(const std::vector<Change>& changes) {
  std::vector<std::pair<base::LogComponent*, base::LogLevel>> checked;
  for (const auto& [logger, text] : changes) {
    const base::Result<base::LogLevel> level = base::parse_log_level(text);
    if (!level.ok()) return level.error();
    base::LogComponent& component = base::log_component(logger);
    if (component.name != logger) return invalid(fmt::format("there is no logger '{}'", logger));
    checked.emplace_back(&component, *level);
  }
  for (const auto& [component, level] : checked) component->level.store(level, std::memory_order_relaxed);
  return {};
}

base::Result<void> change_levels(const Query& query) {
  const Query::Parameter* only = nullptr;
  for (const Query::Parameter& parameter : query.parameters()) {
    if (parameter.second.empty()) continue;  // a field of a form that was left alone
    if (only != nullptr) return invalid("one parameter at a time");
    only = &parameter;
  }
  if (only == nullptr) return {};
  const auto& [name, value] = *only;
  if (name == "level") {
    const base::Result<base::LogLevel> level = base::parse_log_level(value);
    if (!level.ok()) return level.error();
    base::set_log_level(*level);
    return {};
  }
  if (name != "paths") return apply({{name, value}});
  const base::Result<std::vector<Change>> changes = parse_paths(value);
  if (!changes.ok()) return changes.error();
  return apply(*changes);
}

}  // namespace

Response answer_logging(const Request& request, AdminContext&) {
  Response response;
  if (const base::Result<void> changed = change_levels(request.query); !changed.ok()) {
    response.status = 400;
    response.text = fmt::format(
        "error: {}\n\n"
        "usage: /logging?level=<level>, /logging?<logger>=<level>, /logging?paths=<logger>:<level>,...\n\n",
        changed.error().what);
  }
  response.text += "active loggers:\n";
  for (const base::LogComponent* component : base::log_components()) {
    fmt::format_to(std::back_inserter(response.text), "  {}: {}\n", component->name,
                   base::name(component->level.load(std::memory_order_relaxed)));
  }
  return response;
}

Response answer_reset_counters(const Request&, AdminContext& context) {
  if (context.reset_counters) {
    context.reset_counters();
  } else {
    context.store.reset_counters();
  }
  return ok();
}

Response answer_healthcheck_fail(const Request&, AdminContext& context) {
  if (!context.healthcheck_fail) return not_here();
  context.healthcheck_fail(true);
  return ok();
}

Response answer_healthcheck_ok(const Request&, AdminContext& context) {
  if (!context.healthcheck_fail) return not_here();
  context.healthcheck_fail(false);
  return ok();
}

Response answer_drain_listeners(const Request& request, AdminContext& context) {
  const Query& query = request.query;
  const DrainRequest drain{query.has("graceful"), query.has("skip_exit"), query.has("inboundonly")};
  if (drain.skip_exit && !drain.graceful) return Response::make(400, "skip_exit needs graceful.\n");
  if (!context.drain_listeners) return not_here();
  context.drain_listeners(drain);
  return ok();
}

Response answer_quit(const Request&, AdminContext& context) {
  if (!context.quit) return not_here();
  Response response = ok();
  response.after = context.quit;
  return response;
}

Response answer_reopen_logs(const Request&, AdminContext& context) {
  if (!context.reopen_logs) return not_here();
  context.reopen_logs();
  return ok();
}

}  // namespace millrace::admin
