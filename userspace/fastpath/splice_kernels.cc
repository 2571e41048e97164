#include "fastpath/splice_kernels.h"

#include <fmt/format.h>

#include <charconv>

namespace millrace::fastpath {

namespace {

constexpr KernelRange kRefused[] = {
    {{0, 0, 0}, {5, 11, 0}, "its sockmap drops bytes when memory is short (repaired by the series of November 2020)"},
    {{5, 11, 0}, {6, 1, 0}, "its sockmap was never read or tried for this"},
};

}  // namespace

std::optional<KernelVersion> parse_kernel_release(std::string_view release) {
  KernelVersion version;
  const char* at = release.data();
  const char* const end = at + release.size();
  for (uint32_t* part : {&version.major, &version.minor, &version.patch}) {
    const auto [next, error] = std::from_chars(at, end, *part);
    if (error != std::errc()) return std::nullopt;
    at = next;
    if (at == end || *at != '.') break;
    ++at;
  }
  return version;
}

std::optional<std::string> refused_kernel(std::string_view release) {
  const std::optional<KernelVersion> version = parse_kernel_release(release);
  if (!version) return std::nullopt;
  for (const KernelRange& range : kRefused) {
    if (*version >= range.first && *version < range.fixed) {
      return fmt::format("kernel {} is not used: {}", release, range.why);
    }
  }
  return std::nullopt;
}

}  // namespace millrace::fastpath
