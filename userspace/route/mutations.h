// Compiled headers_to_add and headers_to_remove of one level (weighted cluster, route, virtual host, route
// configuration). Removal comes first; then every value is made, from the headers as they are, then what
// overwrites is written, then what appends. Values without %...% operators are used as they stand, without
// formatting or copying: they live as long as the table. Immutable, any worker.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/header_map.h"
#include "route/options.h"
#include "stream/formatter.h"

namespace millrace::route {

class HeaderEdits {
 public:
  // field: how the two lists are called in errors, "request_headers" or "response_headers".
  static base::Result<HeaderEdits> compile(const std::vector<HeaderToAdd>& add, const std::vector<std::string>& remove,
                                           std::string_view field);
  bool empty() const { return adds_.empty() && removes_.empty(); }
  void apply(http::HeaderMap& headers, const stream::FormatContext& context) const;

 private:
  struct Add {
    std::string name;
    http::Header id = http::Header::kOther;
    AppendAction action = AppendAction::kAppendIfExistsOrAdd;
    bool keep_empty = false;
    std::string constant;                       // when there is no formatter
    std::optional<stream::Formatter> formatter;
  };
  struct Remove {
    std::string name;
    http::Header id = http::Header::kOther;
  };
  std::string_view value_of(const Add& add, http::HeaderMap& headers, const stream::FormatContext& context) const;

  std::vector<Add> adds_;
  std::vector<Remove> removes_;
};

}  // namespace millrace::route
