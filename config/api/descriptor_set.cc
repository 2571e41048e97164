#include "descriptor_set.h"

// The assembler reads the file (MILLRACE_API_BINPB, set by CMake): far quicker than compiling
// 650,000 byte literals.
asm(".pushsection .rodata.millrace_api,\"a\",@progbits\n"
    ".hidden millrace_api_begin\n"
    ".hidden millrace_api_end\n"
    ".globl millrace_api_begin\n"
    ".globl millrace_api_end\n"
    ".balign 16\n"
    "millrace_api_begin:\n"
    ".incbin \"" MILLRACE_API_BINPB
    "\"\n"
    "millrace_api_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
[[gnu::visibility("hidden")]] extern const char millrace_api_begin[];
[[gnu::visibility("hidden")]] extern const char millrace_api_end[];
}

namespace millrace::config {

std::string_view api_descriptor_set() {
  return {millrace_api_begin, static_cast<size_t>(millrace_api_end - millrace_api_begin)};
}

}  // namespace millrace::config
