// The memory of nghttp2: small pieces from lists of free ones by size, a set per thread. A stream takes a dozen of them
// and gives them back when it ends; with hundreds of streams at once that is more than the caches of malloc hold. What is
// kept is bounded, and given back when the thread ends. One file of the session's implementation.
#pragma once
#include <nghttp2/nghttp2.h>

namespace millrace::http {

// For sessions of this thread.
nghttp2_mem* http2_memory();

}  // namespace millrace::http
