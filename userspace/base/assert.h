// Programmer errors. MILLRACE_ASSERT stays on in release builds (keep it off hot paths); MILLRACE_DCHECK is for hot
// paths and goes with NDEBUG.
#pragma once

namespace millrace::base {
[[noreturn]] void assert_failed(const char* what, const char* file, int line);
}

#define MILLRACE_ASSERT(condition) \
  (__builtin_expect(!(condition), 0) ? ::millrace::base::assert_failed(#condition, __FILE__, __LINE__) : (void)0)
#ifdef NDEBUG
#define MILLRACE_DCHECK(condition) ((void)sizeof(!(condition)))
#else
#define MILLRACE_DCHECK(condition) MILLRACE_ASSERT(condition)
#endif
