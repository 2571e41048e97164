// One configured access log: what it writes (format), for which streams (filter), and where (sink). Compiled from plain
// options, part of the Snapshot, used by all workers at once; the line goes to the calling worker's AccessLogWriter.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "stream/access_log_file.h"
#include "stream/access_log_filter.h"
#include "stream/formatter.h"

namespace millrace::stream {

struct AccessLogOptions {
  enum class Sink : uint8_t { kFile, kStdout, kStderr };
  Sink sink = Sink::kFile;
  std::string path;  // of kFile
  // Nothing: Envoy's default format. Text is written as it is, without a line end of our own.
  std::variant<std::monostate, std::string, JsonFormat::Object> format;
  bool omit_empty_values = false;
  bool sort_properties = true;  // of JSON
  std::optional<AccessLogFilterOptions> filter;
};

class AccessLog {
 public:
  // files == nullptr checks the options and opens nothing (--mode validate); log() then does nothing.
  static base::Result<AccessLog> compile(const AccessLogOptions& options, AccessLogFiles* files);

  void log(const FormatContext& context, AccessLogWriter& writer) const {
    if (file_ == nullptr || (filter_.has_value() && !filter_->evaluate(context))) return;
    writer.write(file_, [&](std::string& out) {
      if (text_.has_value()) {
        text_->append(context, out);
      } else {
        json_->append(context, out);
      }
    });
  }

 private:
  AccessLog() = default;
  std::optional<AccessLogFilter> filter_;
  std::optional<Formatter> text_;  // one of the two
  std::optional<JsonFormatter> json_;
  AccessLogFilePtr file_;
};

// Every log of a listener, connection manager or TCP proxy.
inline void log_all(const std::vector<AccessLog>& logs, const FormatContext& context, AccessLogWriter& writer) {
  for (const AccessLog& log : logs) log.log(context, writer);
}

}  // namespace millrace::stream
