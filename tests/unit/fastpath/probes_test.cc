// The proofs at start: what they say of this kernel, and that they can fail.
#include "fastpath/probes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "fastpath/splice_kernels.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

bool has(const ProbeReport& report, std::string_view name) {
  const auto named = [name](const Probe& probe) { return probe.name == name; };
  return std::any_of(report.probes.begin(), report.probes.end(), named);
}

TEST(SpliceProbes, JudgeEveryPieceOfThisKernel) {
  MILLRACE_NEEDS_BPF();
  const ProbeReport report = run_splice_probes();
  for (const Probe& probe : report.probes) {
    RecordProperty(probe.name, std::string(name(probe.verdict)) + " " + probe.sentence);
    EXPECT_NE(probe.verdict, ProbeVerdict::kFailed) << probe.name << ": " << probe.sentence;
  }
  for (const char* name : {"hop_v4.transfer", "joined_v6.order", "hop_v6.fionread", "joined_v4.slow_reader",
                           "limit.splice_read", "limit.urgent"}) {
    EXPECT_TRUE(has(report, name)) << name;
  }
  EXPECT_TRUE(report.pieces.hop_v4 && report.pieces.joined_v4 && report.pieces.hop_v6 && report.pieces.joined_v6);
  EXPECT_EQ(report.what_is_off(), "");
}

TEST(SpliceProbes, SayWhichProbeFailed) {
  ProbeReport report;
  report.probes = {{"hop_v4.transfer", ProbeVerdict::kPassed, ""},
                   {"hop_v4.fionread", ProbeVerdict::kFailed, "FIONREAD said 0"},
                   {"limit.urgent", ProbeVerdict::kLimited, "in the stream"},
                   {"hop_v6", ProbeVerdict::kSkipped, "no address"}};
  EXPECT_EQ(report.what_is_off(), "hop_v4.fionread failed: FIONREAD said 0; hop_v6 skipped: no address");
}

TEST(SpliceKernels, ReadsReleases) {
  EXPECT_EQ(parse_kernel_release("6.18.44-cloud-amd64"), (KernelVersion{6, 18, 44}));
  EXPECT_EQ(parse_kernel_release("6.1-rc3"), (KernelVersion{6, 1, 0}));
  EXPECT_EQ(parse_kernel_release("somewhere"), std::nullopt);
}

TEST(SpliceKernels, RefusesOldOnes) {
  EXPECT_TRUE(refused_kernel("5.10.0-30-amd64"));
  EXPECT_TRUE(refused_kernel("5.15.180"));
  EXPECT_FALSE(refused_kernel("6.1.0-49-amd64"));
  EXPECT_FALSE(refused_kernel("6.18.44"));
  EXPECT_FALSE(refused_kernel("unreadable"));
}

}  // namespace
}  // namespace millrace::fastpath
