// The configuration as GET /config_dump shows it: envoy.admin.v3.ConfigDump as JSON, with field names as the API has
// them. What the API marks as sensitive reads "[redacted]". Main thread.
#pragma once
#include <chrono>
#include <functional>
#include <string>

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}

namespace millrace::config {

// Keeps the bootstrap in its wire form, some tenth of what it takes as a message, and writes the JSON anew each time.
std::function<std::string()> config_dump(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                                         std::chrono::system_clock::time_point last_updated);

}  // namespace millrace::config
