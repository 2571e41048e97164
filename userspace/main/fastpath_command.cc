#include "main/fastpath_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <string>

#include "fastpath/pin_dir.h"
#include "fastpath/probes.h"
#include "fastpath/splice_status.h"
#include "fastpath/splice_worth.h"
#include "fastpath/status.h"

namespace millrace {
namespace {

int print_status(const std::string& pins) {
  base::Result<fastpath::Status> status = fastpath::read_status(pins);
  if (!status.ok()) {
    std::cerr << "millrace: fastpath status: " << status.error().to_string() << "\n";
    return 1;
  }
  std::cout << fastpath::to_text(*status);
  return 0;
}

int detach(const std::string& pins, bool force) {
  if (base::Result<void> gone = fastpath::detach(pins, force); !gone.ok()) {
    std::cerr << "millrace: fastpath detach: " << gone.error().to_string()
              << (force ? "" : "; --force detaches under a living daemon") << "\n";
    return 1;
  }
  std::cout << "nothing of the fast path is left in " << pins << "\n";
  return 0;
}

// What the kernel is known not to do is told and is no failure.
int self_test() {
  const fastpath::ProbeReport report = fastpath::run_splice_probes();
  std::cout << fastpath::to_text(report);
  if (report.pieces.any()) {
    const fastpath::SpliceWorth worth = fastpath::measure_splice_worth(report.pieces);
    std::cout << fastpath::to_text(worth)
              << fastpath::to_text(fastpath::rule_of(worth), fastpath::SplicePolicy::kAuto);
  }
  const bool good = std::all_of(report.probes.begin(), report.probes.end(), [](const fastpath::Probe& probe) {
    return probe.verdict == fastpath::ProbeVerdict::kPassed || probe.verdict == fastpath::ProbeVerdict::kLimited;
  });
  return good ? 0 : 1;
}

}  // namespace

int fastpath_command(int argc, char** argv) {
  CLI::App app("The kernel fast path.", "millrace fastpath");
  app.require_subcommand(1);
  std::string pins(fastpath::kDefaultPinDir);
  bool force = false;
  CLI::App* status = app.add_subcommand("status", "programs, services and counts, from the pins");
  CLI::App* remove = app.add_subcommand("detach", "remove programs, links, maps and the pin directory");
  CLI::App* self = app.add_subcommand("selftest", "what this kernel does with short-circuited bytes, tried by name");
  for (CLI::App* command : {status, remove}) {
    command->add_option("--pin-directory", pins, "as in millrace.fastpath.v1.FastPath")->capture_default_str();
  }
  remove->add_flag("--force", force, "even while a daemon lives, which then serves without");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  if (self->parsed()) return self_test();
  return status->parsed() ? print_status(pins) : detach(pins, force);
}

}  // namespace millrace
