#include "stream/response_flags.h"

namespace millrace::stream {
namespace {

struct Names {
  std::string_view short_name;
  std::string_view long_name;
};

constexpr std::array<Names, kResponseFlagCount> kNames{{
#define MILLRACE_X(enumerator, short_name, long_name) {short_name, long_name},
    MILLRACE_RESPONSE_FLAGS(MILLRACE_X)
#undef MILLRACE_X
}};

void append_names(uint64_t bits, std::string_view Names::*which, std::string& out) {
  if (bits == 0) {
    out += '-';
    return;
  }
  for (bool first = true; bits != 0; bits &= bits - 1, first = false) {
    if (!first) out += ',';
    out += kNames[static_cast<size_t>(std::countr_zero(bits))].*which;
  }
}

}  // namespace

std::string_view short_name(ResponseFlag flag) {
  return kNames[static_cast<size_t>(flag)].short_name;
}

std::string_view long_name(ResponseFlag flag) { return kNames[static_cast<size_t>(flag)].long_name; }

std::optional<ResponseFlag> parse_response_flag(std::string_view short_name) {
  for (size_t i = 0; i < kResponseFlagCount; ++i) {
    if (kNames[i].short_name == short_name) return static_cast<ResponseFlag>(i);
  }
  return std::nullopt;
}

void ResponseFlags::append_short(std::string& out) const {
  append_names(bits_, &Names::short_name, out);
}

void ResponseFlags::append_long(std::string& out) const {
  append_names(bits_, &Names::long_name, out);
}

}  // namespace millrace::stream
