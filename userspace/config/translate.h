// From a checked Bootstrap to the Snapshot that the daemon runs on. A pure function but for the files it opens and the
// blocks of statistics it asks for, both through the BuildContext; finds fault by field path in the given Diagnostics
// and goes on, so that all errors of a file are reported at once. Main thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/snapshot.h"
#include "config/support.h"

namespace millrace::config {

struct LoadOptions;
class Diagnostics;

struct BuildContext {
  stats::Store* store = nullptr;               // never null
  stream::AccessLogFiles* access_log_files = nullptr;  // null: checks formats, opens nothing
  // What the command line says beats what the bootstrap says.
  std::string service_node, service_cluster, service_zone;
};

struct LoadedSnapshot {
  std::shared_ptr<const Snapshot> snapshot;  // null: there were errors
  std::string messages;                      // every error and warning, a line each
  size_t errors = 0, warnings = 0;
  std::vector<SupportNote> ignored;          // set, and without effect here
};

// Loads, checks and translates; never throws.
LoadedSnapshot load_snapshot(const LoadOptions& options, const BuildContext& context);

}  // namespace millrace::config
