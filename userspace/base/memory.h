// What this process takes of the machine's memory. Any thread; reads /proc.
#pragma once
#include <cstdint>

namespace millrace::base {

// Bytes of resident memory; 0 if the kernel does not say.
uint64_t resident_bytes();

}  // namespace millrace::base
