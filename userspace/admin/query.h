// The parameters of a query string or of a form: percent-decoded, in order; a repeated name counts once, the first.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::admin {

class Query {
 public:
  using Parameter = std::pair<std::string, std::string>;

  Query() = default;
  // "a=1&b&c=%20": what follows the "?". A broken escape stands for itself.
  explicit Query(std::string_view encoded);

  bool empty() const { return parameters_.empty(); }
  bool has(std::string_view name) const { return get(name) != nullptr; }
  // Null when absent.
  const std::string* get(std::string_view name) const;
  // Nothing when absent or empty, as forms send fields that were left alone.
  std::optional<std::string> value(std::string_view name) const;
  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
};

}  // namespace millrace::admin
