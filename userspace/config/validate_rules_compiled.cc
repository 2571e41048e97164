#include "config/validate_rules_compiled.h"

#include <arpa/inet.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>

namespace millrace::config {

namespace pb = google::protobuf;

namespace {

// Reads the fields of a rules message by name; one that the message lacks, or that is not set, reads as
// nothing.
class RulesReader {
 public:
  explicit RulesReader(const pb::Message& rules) : rules_(rules), reflection_(*rules.GetReflection()) {}

  bool flag(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    return field != nullptr && reflection_.GetBool(rules_, field);
  }
  std::optional<uint64_t> count(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    if (field == nullptr) return std::nullopt;
    return reflection_.GetUInt64(rules_, field);
  }
  std::optional<std::string> text(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    if (field == nullptr) return std::nullopt;
    return reflection_.GetString(rules_, field);
  }
  std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> out;
    const pb::FieldDescriptor* field = named(name);
    const int size = field == nullptr ? 0 : reflection_.FieldSize(rules_, field);
    for (int i = 0; i < size; ++i) out.push_back(reflection_.GetRepeatedString(rules_, field, i));
    return out;
  }
  std::optional<Number> number(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    if (field == nullptr) return std::nullopt;
    return value(*field, -1);
  }
  std::vector<Number> numbers(const char* name) const {
    std::vector<Number> out;
    const pb::FieldDescriptor* field = named(name);
    const int size = field == nullptr ? 0 : reflection_.FieldSize(rules_, field);
    for (int i = 0; i < size; ++i) out.push_back(value(*field, i));
    return out;
  }
  const pb::Message* message(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    return field == nullptr ? nullptr : &reflection_.GetMessage(rules_, field);
  }
  int enumerator(const char* name) const {
    const pb::FieldDescriptor* field = set(name);
    return field == nullptr ? 0 : reflection_.GetEnumValue(rules_, field);
  }
  bool is_set(const char* name) const { return set(name) != nullptr; }

 private:
  const pb::FieldDescriptor* named(const char* name) const {
    return rules_.GetDescriptor()->FindFieldByName(name);
  }
  const pb::FieldDescriptor* set(const char* name) const {
    const pb::FieldDescriptor* field = named(name);
    return field != nullptr && !field->is_repeated() && reflection_.HasField(rules_, field) ? field : nullptr;
  }

  // A number, or a duration or timestamp in nanoseconds; index -1 reads a singular field.
  Number value(const pb::FieldDescriptor& field, int index) const {
    const bool one = index < 0;
    switch (field.cpp_type()) {
#define MILLRACE_NUMBER(CASE, Name)                                        \
  case pb::FieldDescriptor::CPPTYPE_##CASE:                                \
    return static_cast<Number>(one ? reflection_.Get##Name(rules_, &field) \
                                   : reflection_.GetRepeated##Name(rules_, &field, index));
      MILLRACE_NUMBER(INT32, Int32)
      MILLRACE_NUMBER(INT64, Int64)
      MILLRACE_NUMBER(UINT32, UInt32)
      MILLRACE_NUMBER(UINT64, UInt64)
      MILLRACE_NUMBER(FLOAT, Float)
      MILLRACE_NUMBER(DOUBLE, Double)
      MILLRACE_NUMBER(BOOL, Bool)
#undef MILLRACE_NUMBER
      case pb::FieldDescriptor::CPPTYPE_MESSAGE: {
        const pb::Message& instant = one ? reflection_.GetMessage(rules_, &field)
                                         : reflection_.GetRepeatedMessage(rules_, &field, index);
        const RulesReader reader(instant);
        return reader.number("seconds").value_or(0) * 1e9L + reader.number("nanos").value_or(0);
      }
      default:
        return 0;
    }
  }

  const pb::Message& rules_;
  const pb::Reflection& reflection_;
};

std::unique_ptr<NumberRules> compile_numbers(const RulesReader& reader) {
  auto rules = std::make_unique<NumberRules>();
  rules->is = reader.number("const");
  rules->lt = reader.number("lt");
  rules->lte = reader.number("lte");
  rules->gt = reader.number("gt");
  rules->gte = reader.number("gte");
  rules->in = reader.numbers("in");
  rules->not_in = reader.numbers("not_in");
  return rules;
}

std::unique_ptr<TextRules> compile_text(const RulesReader& reader, bool bytes) {
  auto rules = std::make_unique<TextRules>();
  rules->is = reader.text("const");
  // A bytes field has no code points: its lengths are of bytes.
  (bytes ? rules->len_bytes : rules->len) = reader.count("len");
  (bytes ? rules->min_bytes : rules->min_len) = reader.count("min_len");
  (bytes ? rules->max_bytes : rules->max_len) = reader.count("max_len");
  if (!bytes) {
    rules->len_bytes = reader.count("len_bytes");
    rules->min_bytes = reader.count("min_bytes");
    rules->max_bytes = reader.count("max_bytes");
  }
  if (const std::optional<std::string> pattern = reader.text("pattern")) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    rules->pattern = std::make_unique<re2::RE2>(*pattern, options);
    if (!rules->pattern->ok()) rules->pattern.reset();
  }
  rules->prefix = reader.text("prefix");
  rules->suffix = reader.text("suffix");
  rules->contains = reader.text("contains");
  rules->not_contains = reader.text("not_contains");
  rules->in = reader.texts("in");
  rules->not_in = reader.texts("not_in");
  constexpr std::pair<const char*, TextForm> kForms[] = {
      {"email", TextForm::kEmail},    {"hostname", TextForm::kHostname}, {"ip", TextForm::kIp},
      {"ipv4", TextForm::kIpv4},      {"ipv6", TextForm::kIpv6},         {"uri", TextForm::kUri},
      {"uri_ref", TextForm::kUriRef}, {"address", TextForm::kAddress},   {"uuid", TextForm::kUuid}};
  for (const auto& [name, form] : kForms) {
    // In BytesRules ip, ipv4 and ipv6 speak of packed addresses; no proto of the API uses them.
    if (!bytes && reader.flag(name)) rules->form = form;
  }
  const int regex = reader.enumerator("well_known_regex");
  if (regex == 1) rules->form = TextForm::kHeaderName;
  if (regex == 2) rules->form = TextForm::kHeaderValue;
  rules->strict = !reader.is_set("strict") || reader.flag("strict");
  return rules;
}

std::string show(Number value, FieldRules::Unit unit) {
  if (unit != FieldRules::Unit::kPlain) value /= 1e9L;
  char text[64];
  const bool whole = std::floor(value) == value && std::abs(value) < 1e19L;
  std::snprintf(text, sizeof(text), whole ? "%.0Lf" : "%.9Lg", value);
  return std::string(text) + (unit == FieldRules::Unit::kPlain ? "" : "s");
}

template <class List, class Show>
std::string join(const List& list, Show&& show_one) {
  std::string out;
  for (const auto& each : list) out += (out.empty() ? "" : ", ") + show_one(each);
  return out;
}

bool is_label_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

// RFC 1034 section 3.5, at most 253 letters, labels of 1 to 63, no hyphen at an edge.
bool is_hostname(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const std::string_view label = text.substr(0, text.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(), is_label_char)) return false;
    if (label.size() == text.size()) return true;
    text.remove_prefix(label.size() + 1);
  }
}

bool is_ip(std::string_view text, int family) {
  unsigned char address[16];
  return inet_pton(family, std::string(text).c_str(), address) == 1;
}

// RFC 3986 in outline: the allowed letters, escapes that are whole, and a scheme unless a reference will do.
bool is_uri(std::string_view text, bool reference) {
  constexpr std::string_view kOther = "-._~:/?#[]@!$&'()*+,;=";
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size() || !std::isxdigit(static_cast<unsigned char>(text[i + 1])) ||
          !std::isxdigit(static_cast<unsigned char>(text[i + 2]))) {
        return false;
      }
    } else if (!std::isalnum(static_cast<unsigned char>(c)) && kOther.find(c) == std::string_view::npos) {
      return false;
    }
  }
  if (reference) return true;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || !std::isalpha(static_cast<unsigned char>(text[0])))
    return false;
  return std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(colon), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.';
  });
}

bool is_email(std::string_view text) {
  const size_t at = text.rfind('@');
  if (at == std::string_view::npos || at == 0 || at > 64 || text.size() > 254) return false;
  return text.find_first_of(" \t\r\n<>") == std::string_view::npos && is_hostname(text.substr(at + 1));
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

bool is_header_name(std::string_view text, bool strict) {
  if (!strict)
    return text.find_first_of(std::string_view("\0\n\r", 3)) == std::string_view::npos;  // may be empty
  if (text.starts_with(':')) text.remove_prefix(1);
  constexpr std::string_view kToken = "!#$%&'*+-.^_|~`";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || kToken.find(c) != std::string_view::npos;
  });
}

bool is_header_value(std::string_view text, bool strict) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (!strict) return byte != 0 && byte != '\n' && byte != '\r';
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view name_of(TextForm form) {
  switch (form) {
    case TextForm::kAny:
      return "any text";
    case TextForm::kEmail:
      return "an email address";
    case TextForm::kHostname:
      return "a host name";
    case TextForm::kIp:
      return "an IP address";
    case TextForm::kIpv4:
      return "an IPv4 address";
    case TextForm::kIpv6:
      return "an IPv6 address";
    case TextForm::kUri:
      return "an absolute URI";
    case TextForm::kUriRef:
      return "a URI reference";
    case TextForm::kAddress:
      return "a host name or an IP address";
    case TextForm::kUuid:
      return "a UUID";
    case TextForm::kHeaderName:
      return "an HTTP header name";
    case TextForm::kHeaderValue:
      return "an HTTP header value";
  }
  return "";
}

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

std::string check_lengths(std::string_view value, const TextRules& rules) {
  const auto points = static_cast<uint64_t>(std::count_if(
      value.begin(), value.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  const auto check = [](uint64_t have, const std::optional<uint64_t>& exact,
                        const std::optional<uint64_t>& least, const std::optional<uint64_t>& most,
                        const std::string& unit) -> std::string {
    if (exact && have != *exact) return "must be " + std::to_string(*exact) + unit + " long";
    if (least && *least == 1 && have == 0) return "must not be empty";
    if (least && have < *least) return "must be at least " + std::to_string(*least) + unit + " long";
    if (most && have > *most) {
      return "must be at most " + std::to_string(*most) + unit + " long, not " + std::to_string(have);
    }
    return {};
  };
  std::string wrong = check(points, rules.len, rules.min_len, rules.max_len, " characters");
  if (wrong.empty()) wrong = check(value.size(), rules.len_bytes, rules.min_bytes, rules.max_bytes, " bytes");
  return wrong;
}

}  // namespace

std::unique_ptr<FieldRules> compile_rules(const pb::Message& message) {
  auto rules = std::make_unique<FieldRules>();
  const RulesReader reader(message);
  if (const pb::Message* inner = reader.message("message")) {
    rules->required = RulesReader(*inner).flag("required");
    rules->skip = RulesReader(*inner).flag("skip");
  }
  const pb::OneofDescriptor* oneof = message.GetDescriptor()->FindOneofByName("type");
  if (oneof == nullptr) return rules;
  const pb::FieldDescriptor* kind = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
  if (kind == nullptr) return rules;
  const RulesReader inner(message.GetReflection()->GetMessage(message, kind));
  rules->required = rules->required || inner.flag("required");
  rules->ignore_empty = inner.flag("ignore_empty");
  const std::string& name = kind->name();
  if (name == "string" || name == "bytes" || name == "any") {
    rules->text = compile_text(inner, name == "bytes");
  } else if (name == "repeated" || name == "map") {
    const bool map = name == "map";
    rules->min_items = inner.count(map ? "min_pairs" : "min_items");
    rules->max_items = inner.count(map ? "max_pairs" : "max_items");
    rules->unique = inner.flag("unique");
    if (const pb::Message* items = inner.message(map ? "values" : "items"))
      rules->items = compile_rules(*items);
    if (const pb::Message* keys = inner.message("keys")) rules->keys = compile_rules(*keys);
  } else {
    rules->number = compile_numbers(inner);
    rules->defined_only = inner.flag("defined_only");
    if (name == "duration") rules->unit = FieldRules::Unit::kDuration;
    if (name == "timestamp") rules->unit = FieldRules::Unit::kTimestamp;
  }
  return rules;
}

std::string check_number(Number value, const NumberRules& rules, FieldRules::Unit unit) {
  const auto shown = [&](Number number) { return show(number, unit); };
  if (rules.is && value != *rules.is) return "must be " + shown(*rules.is) + ", not " + shown(value);
  const bool above = (!rules.gt || value > *rules.gt) && (!rules.gte || value >= *rules.gte);
  const bool below = (!rules.lt || value < *rules.lt) && (!rules.lte || value <= *rules.lte);
  const std::optional<Number> lower = rules.gt ? rules.gt : rules.gte;
  const std::optional<Number> upper = rules.lt ? rules.lt : rules.lte;
  // A lower bound above the upper one means the numbers outside of both.
  const bool outside = lower && upper && *lower > *upper;
  if (outside ? !above && !below : !above || !below) {
    std::string what = "must be ";
    if (lower) what += (rules.gt ? "greater than " : "at least ") + shown(*lower);
    if (lower && upper) what += outside ? " or " : " and ";
    if (upper) what += (rules.lt ? "less than " : "at most ") + shown(*upper);
    return what + ", not " + shown(value);
  }
  if (!rules.in.empty() && std::find(rules.in.begin(), rules.in.end(), value) == rules.in.end()) {
    return "must be one of " + join(rules.in, shown) + ", not " + shown(value);
  }
  if (std::find(rules.not_in.begin(), rules.not_in.end(), value) != rules.not_in.end()) {
    return "must not be " + shown(value);
  }
  return {};
}

bool has_form(std::string_view value, TextForm form, bool strict) {
  switch (form) {
    case TextForm::kAny:
      return true;
    case TextForm::kEmail:
      return is_email(value);
    case TextForm::kHostname:
      return is_hostname(value);
    case TextForm::kIp:
      return is_ip(value, AF_INET) || is_ip(value, AF_INET6);
    case TextForm::kIpv4:
      return is_ip(value, AF_INET);
    case TextForm::kIpv6:
      return is_ip(value, AF_INET6);
    case TextForm::kUri:
      return is_uri(value, false);
    case TextForm::kUriRef:
      return is_uri(value, true);
    case TextForm::kAddress:
      return is_hostname(value) || is_ip(value, AF_INET) || is_ip(value, AF_INET6);
    case TextForm::kUuid:
      return is_uuid(value);
    case TextForm::kHeaderName:
      return is_header_name(value, strict);
    case TextForm::kHeaderValue:
      return is_header_value(value, strict);
  }
  return true;
}

std::string check_text(std::string_view value, const TextRules& rules) {
  if (rules.is && value != *rules.is) return "must be " + quoted(*rules.is);
  if (std::string wrong = check_lengths(value, rules); !wrong.empty()) return wrong;
  if (rules.prefix && !value.starts_with(*rules.prefix)) return "must begin with " + quoted(*rules.prefix);
  if (rules.suffix && !value.ends_with(*rules.suffix)) return "must end with " + quoted(*rules.suffix);
  if (rules.contains && value.find(*rules.contains) == std::string_view::npos) {
    return "must contain " + quoted(*rules.contains);
  }
  if (rules.not_contains && value.find(*rules.not_contains) != std::string_view::npos) {
    return "must not contain " + quoted(*rules.not_contains);
  }
  if (rules.pattern &&
      !re2::RE2::PartialMatch(re2::StringPiece(value.data(), value.size()), *rules.pattern)) {
    return "must match the pattern " + quoted(rules.pattern->pattern()) + ", " + quoted(value) + " does not";
  }
  if (!rules.in.empty() && std::find(rules.in.begin(), rules.in.end(), value) == rules.in.end()) {
    return "must be one of " + join(rules.in, quoted) + ", not " + quoted(value);
  }
  if (std::find(rules.not_in.begin(), rules.not_in.end(), value) != rules.not_in.end()) {
    return "must not be " + quoted(value);
  }
  if (!has_form(value, rules.form, rules.strict)) {
    return "must be " + std::string(name_of(rules.form)) + ", " + quoted(value) + " is not";
  }
  return {};
}

}  // namespace millrace::config
