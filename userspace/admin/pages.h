// Every page of the admin server: path, what it is, and the function that answers. Functions of a request and the
// context, without state. Main thread.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "admin/context.h"
#include "admin/exchange.h"

namespace millrace::admin {

struct PageParameter {
  std::string_view name;
  std::string_view help;
  std::string_view choices;  // "text|json"; empty: anything, or nothing
};

struct Page {
  std::string_view path;
  std::string_view help;
  bool acts = false;  // changes the server: POST only
  Response (*answer)(const Request&, AdminContext&) = nullptr;
  std::span<const PageParameter> parameters;
};

std::span<const Page> pages();  // by path
const Page* find_page(std::string_view path);
// "admin commands are:" and a line for each.
std::string help_text();

// index.cc
Response answer_index(const Request&, AdminContext&);
Response answer_help(const Request&, AdminContext&);
// info_pages.cc
Response answer_ready(const Request&, AdminContext&);
Response answer_server_info(const Request&, AdminContext&);
Response answer_memory(const Request&, AdminContext&);
Response answer_listeners(const Request&, AdminContext&);
Response answer_runtime(const Request&, AdminContext&);
Response answer_certs(const Request&, AdminContext&);
Response answer_config_dump(const Request&, AdminContext&);
Response answer_hot_restart_version(const Request&, AdminContext&);
// fastpath_page.cc
Response answer_fastpath(const Request&, AdminContext&);
// stats_pages.cc
Response answer_stats(const Request&, AdminContext&);
Response answer_prometheus(const Request&, AdminContext&);
// clusters_page.cc
Response answer_clusters(const Request&, AdminContext&);
// action_pages.cc
Response answer_logging(const Request&, AdminContext&);
Response answer_reset_counters(const Request&, AdminContext&);
Response answer_healthcheck_fail(const Request&, AdminContext&);
Response answer_healthcheck_ok(const Request&, AdminContext&);
Response answer_drain_listeners(const Request&, AdminContext&);
Response answer_quit(const Request&, AdminContext&);
Response answer_reopen_logs(const Request&, AdminContext&);

}  // namespace millrace::admin
