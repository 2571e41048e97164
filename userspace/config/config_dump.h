// The configuration as GET /config_dump shows it: envoy.admin.v3.ConfigDump as JSON, with field names as the API has
// them. What the API marks as sensitive reads "[redacted]". Main thread.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}

namespace millrace::config {

// The parameters of the page, as Envoy has them.
struct ConfigDumpQuery {
  std::optional<std::string> resource = {};    // a list of one of the dump's parts: its items alone
  std::optional<std::string> mask = {};        // fields, of the items or else of each part; "a.b,c"
  std::optional<std::string> name_regex = {};  // matches the whole names of the resources shown
};

// JSON that is written a piece at a time, so that a long one does not hold up the main thread. Independent of what it
// was made from.
class JsonText {
 public:
  virtual ~JsonText() = default;
  // Appends the next piece, a millisecond's worth. False: that was all.
  virtual bool next(std::string& out) = 0;
};

// Keeps the bootstrap in its wire form, some tenth of what it takes as a message, and writes the JSON anew each time.
class ConfigDump {
 public:
  ConfigDump(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
             std::chrono::system_clock::time_point last_updated);

  // kInvalidArgument: a mask or expression that does not do; kNotFound: no part has such a list.
  base::Result<std::unique_ptr<JsonText>> json(const ConfigDumpQuery& query) const;
  // All of it at once.
  std::string text() const;

 private:
  const std::string bootstrap_;
  std::string last_updated_;  // google.protobuf.Timestamp
};

}  // namespace millrace::config
