// What a format string is compiled to; between the files of the formatter only. An Element is a piece of literal
// text or one operator with its arguments; an operator is a row of a table (format_operators.cc). Immutable once
// compiled.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/header_map.h"
#include "stream/format_time.h"
#include "stream/formatter.h"

namespace millrace::stream::detail {

struct Element;

// Appends the operator's value to out; false, and nothing appended, when it has none.
using AppendValue = bool (*)(const Element&, const FormatContext&, std::string& out);
// Takes the text between the parentheses into the element; the error says what is wrong with it.
using Configure = base::Result<void> (*)(std::string_view argument, Element&);

enum class ValueType : uint8_t { kText, kNumber };
enum class Arguments : uint8_t { kNone, kOptional, kRequired };

inline constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

struct Element {
  AppendValue append_value = nullptr;  // null: literal text
  ValueType type = ValueType::kText;
  uint8_t option = 0;    // what it means is the operator's affair, as with text and alternative
  uint8_t option_2 = 0;
  uint8_t precision = 0;
  size_t max_length = kNoLimit;
  http::Header header = http::Header::kOther;
  http::Header alternative_header = http::Header::kOther;
  std::string text;
  std::string alternative;
  TimeFormat time;

  bool append(const FormatContext& context, std::string& out) const {
    if (append_value == nullptr) {
      out += text;
      return true;
    }
    const size_t start = out.size();
    if (!append_value(*this, context, out)) return false;
    if (out.size() - start > max_length) out.resize(start + max_length);
    return true;
  }
};

struct Operator {
  std::string_view name;
  AppendValue append_value;
  ValueType type = ValueType::kText;
  Arguments arguments = Arguments::kNone;
  bool length_allowed = false;
  Configure configure = nullptr;
};

// Null when Millrace has no operator of that name.
const Operator* find_operator(std::string_view name);
// Envoy has it, Millrace does not.
bool is_known_to_envoy(std::string_view name);
// The operator that was probably meant; empty when none is near.
std::string_view closest_operator(std::string_view name);

// Every '%...%' an element, text between them merged into one.
base::Result<std::vector<Element>> parse_format(std::string_view format);

// The rows of the table, by kind of fact.
std::span<const Operator> message_operators();     // headers, path, query, gRPC
std::span<const Operator> stream_operators();      // times, durations, bytes, codes, names
std::span<const Operator> connection_operators();  // addresses, ids, TLS

void append_number(uint64_t value, std::string& out);
base::Error argument_error(std::string what);

}  // namespace millrace::stream::detail
