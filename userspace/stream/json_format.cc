#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "stream/format_program.h"

namespace millrace::stream {
namespace detail {

// A node of the compiled tree. What does not depend on the context is JSON text already.
struct JsonNode {
  enum class Kind : uint8_t { kConstant, kOperator, kText, kObject, kArray };
  Kind kind = Kind::kConstant;
  std::string key;                 // of a member: `"name":`
  std::string constant;
  std::vector<Element> elements;   // kOperator: one; kText: any number
  std::vector<JsonNode> children;
};

struct JsonProgram {
  JsonNode root;
  bool omit_empty_values = false;
  bool line_end = true;
};

}  // namespace detail

namespace {

using detail::Element;
using detail::JsonNode;
using Kind = JsonNode::Kind;

// Length of the well-formed UTF-8 sequence at text[0] (RFC 3629 section 4), 0 if there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const auto in = [](int b, int low, int high) { return b >= low && b <= high; };
  const int lead = byte(0);
  if (lead < 0x80) return 1;
  if (in(lead, 0xc2, 0xdf)) return in(byte(1), 0x80, 0xbf) ? 2 : 0;
  if (in(lead, 0xe0, 0xef)) {
    const int low = lead == 0xe0 ? 0xa0 : 0x80;
    const int high = lead == 0xed ? 0x9f : 0xbf;  // no surrogates
    return in(byte(1), low, high) && in(byte(2), 0x80, 0xbf) ? 3 : 0;
  }
  if (in(lead, 0xf0, 0xf4)) {
    const int low = lead == 0xf0 ? 0x90 : 0x80;
    const int high = lead == 0xf4 ? 0x8f : 0xbf;
    return in(byte(1), low, high) && in(byte(2), 0x80, 0xbf) && in(byte(3), 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

bool is_plain(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

// How many bytes stand in front of the first that is not plain. Eight at a time: in a word whose bytes are below 0x80,
// subtracting 0x20 from each sets the top bit of those below it; x ^ c is zero where x is c.
size_t plain_prefix(std::string_view text) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kTops = 0x80 * kOnes;
  size_t n = 0;
  for (; n + 8 <= text.size(); n += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + n, sizeof word);
    const uint64_t quote = word ^ ('"' * kOnes);
    const uint64_t backslash = word ^ ('\\' * kOnes);
    if (((word | (word - 0x20 * kOnes) | (quote - kOnes) | (backslash - kOnes)) & kTops) != 0) break;
  }
  while (n < text.size() && is_plain(text[n])) ++n;
  return n;
}

void append_escaped(std::string_view text, std::string& out) {
  while (!text.empty()) {
    const char c = text[0];
    if (is_plain(c)) {
      const size_t n = plain_prefix(text);
      out += text.substr(0, n);
      text.remove_prefix(n);
      continue;
    }
    size_t taken = 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else if (const size_t length = utf8_length(text); length != 0) {
          out += text.substr(0, length);
          taken = length;
        } else {
          out += "\xef\xbf\xbd";
        }
    }
    text.remove_prefix(taken);
  }
}

// Escapes what stands behind out[start]. Nearly always nothing has to be, and the text stays where it was written.
void escape_from(size_t start, std::string& out) {
  const size_t at = start + plain_prefix(std::string_view(out).substr(start));
  if (at == out.size()) return;
  const std::string rest = out.substr(at);
  out.resize(at);
  append_escaped(rest, out);
}

bool append_node(const JsonNode& node, bool omit, const FormatContext& context, std::string& out);

void append_children(const JsonNode& node, bool omit, const FormatContext& context, std::string& out) {
  bool first = true;
  for (const JsonNode& child : node.children) {
    const size_t start = out.size();
    if (!first) out += ',';
    out += child.key;
    if (append_node(child, omit, context, out)) {
      first = false;
    } else {
      out.resize(start);
    }
  }
}

bool append_operator(const Element& element, bool omit, const FormatContext& context, std::string& out) {
  const bool quoted = element.type == detail::ValueType::kText;
  const size_t start = out.size();
  if (quoted) out += '"';
  if (!element.append(context, out)) {
    out.resize(start);
    if (omit) return false;
    out += "null";
    return true;
  }
  if (!quoted) return true;
  escape_from(start + 1, out);
  out += '"';
  return true;
}

void append_text(const JsonNode& node, bool omit, const FormatContext& context, std::string& out) {
  out += '"';
  const size_t start = out.size();
  for (const Element& element : node.elements) {
    if (!element.append(context, out) && !omit) out += '-';
  }
  escape_from(start, out);
  out += '"';
}

// False: the value is missing and to be left out; nothing was appended.
bool append_node(const JsonNode& node, bool omit, const FormatContext& context, std::string& out) {
  switch (node.kind) {
    case Kind::kConstant:
      out += node.constant;
      return true;
    case Kind::kOperator:
      return append_operator(node.elements[0], omit, context, out);
    case Kind::kText:
      append_text(node, omit, context, out);
      return true;
    case Kind::kObject:
      out += '{';
      append_children(node, omit, context, out);
      out += '}';
      return true;
    case Kind::kArray:
      out += '[';
      append_children(node, omit, context, out);
      out += ']';
      return true;
  }
  return true;
}

void append_json_number(double value, std::string& out) {
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (!std::isfinite(value)) {
    out += "null";
  } else if (value == std::trunc(value) && std::abs(value) <= kExactIntegers) {
    fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(value));
  } else {
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

base::Result<JsonNode> compile_node(const JsonFormat& format, bool sort, int depth);

base::Result<JsonNode> compile_object(const JsonFormat::Object& object, bool sort, int depth) {
  JsonNode node;
  node.kind = Kind::kObject;
  std::vector<const JsonFormat::Object::value_type*> members;
  for (const auto& member : object) members.push_back(&member);
  if (sort) {
    std::stable_sort(members.begin(), members.end(), [](auto* a, auto* b) { return a->first < b->first; });
  }
  for (const auto* member : members) {
    base::Result<JsonNode> child = compile_node(member->second, sort, depth + 1);
    if (!child.ok()) {
      base::Error error = child.error();
      error.what = fmt::format("{}: {}", member->first, error.what);
      return error;
    }
    append_json_string(member->first, child->key);
    child->key += ':';
    node.children.push_back(std::move(*child));
  }
  return node;
}

base::Result<JsonNode> compile_array(const JsonFormat::Array& array, bool sort, int depth) {
  JsonNode node;
  node.kind = Kind::kArray;
  for (const JsonFormat& element : array) {
    base::Result<JsonNode> child = compile_node(element, sort, depth + 1);
    if (!child.ok()) return child;
    node.children.push_back(std::move(*child));
  }
  return node;
}

base::Result<JsonNode> compile_string(const std::string& format) {
  base::Result<std::vector<Element>> elements = detail::parse_format(format);
  if (!elements.ok()) return elements.error();
  JsonNode node;
  const bool operators =
      std::any_of(elements->begin(), elements->end(), [](const Element& e) { return e.append_value != nullptr; });
  if (!operators) {
    append_json_string(elements->empty() ? std::string_view() : std::string_view((*elements)[0].text), node.constant);
    return node;
  }
  node.kind = elements->size() == 1 ? Kind::kOperator : Kind::kText;
  node.elements = std::move(*elements);
  return node;
}

base::Result<JsonNode> compile_node(const JsonFormat& format, bool sort, int depth) {
  constexpr int kDepthMax = 100;  // of protobuf's own parsers; keeps append_node()'s recursion bounded
  if (depth > kDepthMax) return detail::argument_error("nested more than 100 deep");
  if (const auto* text = std::get_if<std::string>(&format.value)) return compile_string(*text);
  if (const auto* object = std::get_if<JsonFormat::Object>(&format.value)) return compile_object(*object, sort, depth);
  if (const auto* array = std::get_if<JsonFormat::Array>(&format.value)) return compile_array(*array, sort, depth);
  JsonNode node;
  if (const auto* number = std::get_if<double>(&format.value)) {
    append_json_number(*number, node.constant);
  } else if (const auto* boolean = std::get_if<bool>(&format.value)) {
    node.constant = *boolean ? "true" : "false";
  } else {
    node.constant = "null";
  }
  return node;
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  append_escaped(text, out);
  out += '"';
}

base::Result<JsonFormatter> JsonFormatter::compile(const JsonFormat::Object& format, const JsonFormatOptions& options) {
  base::Result<JsonNode> root = compile_object(format, options.sort_properties, 0);
  if (!root.ok()) return root.error();
  auto program = std::make_unique<detail::JsonProgram>();
  program->root = std::move(*root);
  program->omit_empty_values = options.omit_empty_values;
  program->line_end = options.line_end;
  return JsonFormatter(std::move(program));
}

JsonFormatter::JsonFormatter(std::unique_ptr<const detail::JsonProgram> program) : program_(std::move(program)) {}
JsonFormatter::JsonFormatter(JsonFormatter&&) noexcept = default;
JsonFormatter& JsonFormatter::operator=(JsonFormatter&&) noexcept = default;
JsonFormatter::~JsonFormatter() = default;

void JsonFormatter::append(const FormatContext& context, std::string& out) const {
  append_node(program_->root, program_->omit_empty_values, context, out);
  if (program_->line_end) out += '\n';
}

}  // namespace millrace::stream
