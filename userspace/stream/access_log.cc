#include "stream/access_log.h"

namespace millrace::stream {

base::Result<AccessLog> AccessLog::compile(const AccessLogOptions& options, AccessLogFiles* files) {
  AccessLog log;
  if (options.filter.has_value()) {
    base::Result<AccessLogFilter> filter = AccessLogFilter::compile(*options.filter);
    if (!filter.ok()) return filter.error();
    log.filter_ = std::move(*filter);
  }
  if (const auto* json = std::get_if<JsonFormat::Object>(&options.format)) {
    base::Result<JsonFormatter> formatter = JsonFormatter::compile(
        *json, {.omit_empty_values = options.omit_empty_values, .sort_properties = options.sort_properties});
    if (!formatter.ok()) return formatter.error();
    log.json_ = std::move(*formatter);
  } else {
    const auto* text = std::get_if<std::string>(&options.format);
    base::Result<Formatter> formatter =
        Formatter::compile(text != nullptr ? std::string_view(*text) : kDefaultAccessLogFormat,
                           {.empty_value = options.omit_empty_values ? "" : "-"});
    if (!formatter.ok()) return formatter.error();
    log.text_ = std::move(*formatter);
  }
  if (files == nullptr) return log;
  const std::string path = options.sink == AccessLogOptions::Sink::kStdout   ? "/dev/stdout"
                           : options.sink == AccessLogOptions::Sink::kStderr ? "/dev/stderr"
                                                                             : options.path;
  base::Result<AccessLogFilePtr> file = files->open(path);
  if (!file.ok()) return file.error();
  log.file_ = std::move(*file);
  return log;
}

}  // namespace millrace::stream
