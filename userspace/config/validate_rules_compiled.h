// validate.rules of one field, read once from its options into plain structs, and the checks of single values
// against them. A check returns the sentence that says what is wrong, or an empty string.
#pragma once
#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace millrace::config {

// Exact for every 64-bit integer where long double has 64 bits of mantissa or more (x86-64, aarch64).
using Number = long double;

struct NumberRules {
  std::optional<Number> is, lt, lte, gt, gte;
  std::vector<Number> in, not_in;
};

enum class TextForm : uint8_t {
  kAny,
  kEmail,
  kHostname,
  kIp,
  kIpv4,
  kIpv6,
  kUri,
  kUriRef,
  kAddress,
  kUuid,
  kHeaderName,
  kHeaderValue,
};

struct TextRules {  // of strings and bytes
  std::optional<std::string> is;
  std::optional<uint64_t> len, min_len, max_len;  // code points; bytes for a bytes field
  std::optional<uint64_t> len_bytes, min_bytes, max_bytes;
  std::unique_ptr<re2::RE2> pattern;
  std::optional<std::string> prefix, suffix, contains, not_contains;
  std::vector<std::string> in, not_in;
  TextForm form = TextForm::kAny;
  bool strict = true;  // of the header forms
};

struct FieldRules {
  enum class Unit : uint8_t { kPlain, kDuration, kTimestamp };

  bool required = false;  // message, any, duration, timestamp
  bool skip = false;      // do not look into the message
  bool ignore_empty = false;
  bool defined_only = false;  // of an enum
  bool unique = false;        // of a list
  Unit unit = Unit::kPlain;
  std::unique_ptr<NumberRules>
      number;  // numbers, enums, booleans (0 and 1), durations and timestamps in nanoseconds
  std::unique_ptr<TextRules> text;               // also the type URL of an Any
  std::optional<uint64_t> min_items, max_items;  // of a list or map
  std::unique_ptr<FieldRules> items, keys;       // of a list or the values of a map; of the keys of a map
};

// From a validate.FieldRules message (any implementation of it).
std::unique_ptr<FieldRules> compile_rules(const google::protobuf::Message& rules);

std::string check_number(Number value, const NumberRules& rules, FieldRules::Unit unit);
std::string check_text(std::string_view value, const TextRules& rules);
bool has_form(std::string_view value, TextForm form, bool strict);

}  // namespace millrace::config
