#include "admin/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace millrace::admin {
namespace {

constexpr PageParameter kFormat[] = {{"format", "form of the answer", "text|json"}};
constexpr PageParameter kConfigDump[] = {
    {"resource", "show one list only: static_clusters, static_listeners or static_route_configs", ""},
    {"mask", "fields to show: of the items of a resource (cluster.name), else of the whole parts (bootstrap)", ""},
    {"name_regex", "show only resources whose whole name this RE2 expression matches", ""},
    {"include_eds", "show endpoints as well", ""},
};
constexpr PageParameter kLogging[] = {
    {"level", "a level for every logger", "trace|debug|info|warning|error|critical|off"},
    {"paths", "levels of several loggers: name:level,name:level", ""},
};
constexpr PageParameter kDrain[] = {
    {"graceful", "go on accepting until the drain time is over, asking connections to close meanwhile", ""},
    {"skip_exit", "with graceful: do not stop listening at the end", ""},
    {"inboundonly", "listeners with traffic_direction INBOUND only", ""},
};
constexpr PageParameter kStats[] = {
    {"usedonly", "only what was ever written", ""},
    {"filter", "only names in which this RE2 expression is found", ""},
    {"format", "form of the answer", "text|json|prometheus|html"},
    {"type", "kind of statistics", "All|Counters|Gauges|Histograms|TextReadouts"},
    {"histogram_buckets", "what to show of histograms: quantiles (none, summary) or buckets",
     "none|summary|cumulative|disjoint|detailed"},
    {"text_readouts", "prometheus: show text readouts, as gauges of value 0", ""},
};
constexpr PageParameter kPrometheus[] = {
    {"usedonly", "only what was ever written", ""},
    {"filter", "only names in which this RE2 expression is found", ""},
    {"histogram_buckets", "histograms as buckets since the start, or as quantiles of the last interval",
     "cumulative|summary"},
    {"text_readouts", "show text readouts, as gauges of value 0", ""},
};

constexpr std::array kPages = {
    Page{"/", "this list as a page for browsers", false, &answer_index, {}},
    Page{"/certs", "certificates in use", false, &answer_certs, {}},
    Page{"/clusters", "clusters, their limits and their hosts", false, &answer_clusters, kFormat},
    Page{"/config_dump", "the configuration that was loaded", false, &answer_config_dump, kConfigDump},
    Page{"/drain_listeners", "stop accepting connections", true, &answer_drain_listeners, kDrain},
    Page{"/fastpath", "what the kernel does: programs, services, counts by reason", false, &answer_fastpath, kFormat},
    Page{"/healthcheck/fail", "tell health checkers to go elsewhere", true, &answer_healthcheck_fail, {}},
    Page{"/healthcheck/ok", "take back /healthcheck/fail", true, &answer_healthcheck_ok, {}},
    Page{"/help", "this list", false, &answer_help, {}},
    Page{"/hot_restart_version", "version of the hot restart protocol", false, &answer_hot_restart_version, {}},
    Page{"/listeners", "listeners and the addresses they are bound to", false, &answer_listeners, kFormat},
    Page{"/logging", "show or change the levels of loggers", true, &answer_logging, kLogging},
    Page{"/memory", "memory in use", false, &answer_memory, {}},
    Page{"/quitquitquit", "end the process", true, &answer_quit, {}},
    Page{"/ready", "200 when the server is LIVE, otherwise 503 and its state", false, &answer_ready, {}},
    Page{"/reopen_logs", "open log files again, after rotation", true, &answer_reopen_logs, {}},
    Page{"/reset_counters", "set every counter to 0", true, &answer_reset_counters, {}},
    Page{"/runtime", "runtime values by layer", false, &answer_runtime, {}},
    Page{"/server_info", "version, state, uptime, command line and node", false, &answer_server_info, {}},
    Page{"/stats", "statistics", false, &answer_stats, kStats},
    Page{"/stats/prometheus", "statistics for Prometheus", false, &answer_prometheus, kPrometheus},
};

// Envoy's pages that are not here: an answer that says so beats one that doubts the path.
constexpr std::string_view kAbsent[] = {
    "/allocprofiler", "/contention", "/cpuprofiler", "/heap_dump", "/heapprofiler", "/hystrix_event_stream",
    "/init_dump", "/memory/tcmalloc", "/peak_heap_dump", "/runtime_modify", "/stats/recentlookups",
    "/stats/recentlookups/clear", "/stats/recentlookups/disable", "/stats/recentlookups/enable", "/tap",
};

Response answer_absent(const Request& request, AdminContext&) {
  return Response::make(501, fmt::format("Envoy has {}, Millrace does not yet.\n", request.path));
}

constexpr Page kAbsentPage{"", "", false, &answer_absent, {}};

}  // namespace

std::span<const Page> pages() { return kPages; }

const Page* find_page(std::string_view path) {
  for (const Page& page : kPages) {
    if (page.path == path) return &page;
  }
  return std::find(std::begin(kAbsent), std::end(kAbsent), path) == std::end(kAbsent) ? nullptr : &kAbsentPage;
}

std::string help_text() {
  std::string out = "admin commands are:\n";
  const auto to = std::back_inserter(out);
  for (const Page& page : kPages) {
    fmt::format_to(to, "  {}{}: {}\n", page.path, page.acts ? " (POST)" : "", page.help);
    for (const PageParameter& parameter : page.parameters) {
      fmt::format_to(to, "      {}: {}", parameter.name, parameter.help);
      if (!parameter.choices.empty()) fmt::format_to(to, "; one of {}", parameter.choices);
      out += '\n';
    }
  }
  return out;
}

Response answer_help(const Request&, AdminContext&) { return Response::make(200, help_text()); }

}  // namespace millrace::admin
