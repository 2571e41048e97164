// Reason phrases of status codes, as Envoy words them. Constant data, any thread.
#pragma once
#include <string_view>

namespace millrace::http {

// "Not Found" for 404; "Unknown" for what has no name.
std::string_view status_text(unsigned status);

}  // namespace millrace::http
