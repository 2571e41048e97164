// FUZZ_CHECK(condition, text): a property that every input has to keep; says what broke it and stops.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>

namespace millrace::test {

[[noreturn]] inline void fuzz_check_failed(const char* condition, const std::string& text) {
  std::fprintf(stderr, "%s does not hold:\n%s\n", condition, text.c_str());
  std::abort();
}

}  // namespace millrace::test

#define FUZZ_CHECK(condition, text) \
  ((condition) ? (void)0 : ::millrace::test::fuzz_check_failed(#condition, (text)))
