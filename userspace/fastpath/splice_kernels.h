// Kernels on which the short-circuit stays off whatever the probes say. The one table of them; it holds only what no
// probe finds, since a probe judges the kernel that runs and a version number does not know of backports.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::fastpath {

struct KernelVersion {
  uint32_t major = 0, minor = 0, patch = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

// Of a release as uname says it: "6.18.44-cloud-amd64", "6.1-rc3".
std::optional<KernelVersion> parse_kernel_release(std::string_view release);

struct KernelRange {
  KernelVersion first;   // inclusive
  KernelVersion fixed;   // exclusive
  std::string_view why;
};

// The sentence why that kernel is refused; nothing if it is not, or if its release cannot be read.
std::optional<std::string> refused_kernel(std::string_view release);

}  // namespace millrace::fastpath
