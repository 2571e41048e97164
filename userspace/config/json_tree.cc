// JSON (RFC 8259) into the same tree, with places. Strict, because a file that says .json was written by a
// program or means to be read by one; the usual slips (comments, trailing commas, single quotes) are named.
#include <algorithm>
#include <optional>
#include <unordered_set>

#include "config/yaml_tree.h"

namespace millrace::config {

namespace {

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

class JsonReader {
 public:
  JsonReader(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics)
      : text_(text), file_(file), document_(document), diagnostics_(diagnostics) {}

  bool read() {
    skip_space();
    if (at_end()) {
      document_.set_root(document_.make(Node::Kind::kNull, {1, 1, file_}));
      return true;
    }
    const Node* root = value();
    if (root == nullptr) return false;
    skip_space();
    if (!at_end()) return fail("text after the end of the document") != nullptr;
    document_.set_root(root);
    return true;
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }

  void skip_space() {
    while (!at_end()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
      ++at_;
    }
  }

  Place place() const {
    return {line_, static_cast<uint16_t>(std::min<size_t>(at_ - line_start_ + 1, 65535)), file_};
  }

  std::nullptr_t fail(std::string what, std::string hint = {}) {
    diagnostics_.error_at(place(), "", "JSON syntax: " + std::move(what), std::move(hint));
    return nullptr;
  }

  std::string shown() const {
    if (at_end()) return "the end of the file";
    return "'" +
           std::string(text_.substr(at_, text_.substr(at_, 20).find_first_of(" \t\r\n,:]}"))).substr(0, 20) +
           "'";
  }

  const Node* value() {
    switch (peek()) {
      case '{':
        return container(Node::Kind::kMap);
      case '[':
        return container(Node::Kind::kSequence);
      case '"':
        return string();
      case '\'':
        return fail("a single quote", "strings stand in double quotes");
      case '/':
      case '#':
        return fail("a comment", "JSON has none; name the file .yaml");
      default:
        return literal();
    }
  }

  const Node* container(Node::Kind kind) {
    if (++depth_ > document_.limits().depth) {
      return fail("nested more than " + std::to_string(document_.limits().depth) + " levels deep");
    }
    const char closing = kind == Node::Kind::kMap ? '}' : ']';
    Node* node = document_.make(kind, place());
    std::unordered_set<std::string_view> keys;
    ++at_;
    skip_space();
    while (peek() != closing) {
      if (!node->members.empty() || !keys.empty()) {
        if (peek() != ',')
          return fail("expected ',' or '" + std::string(1, closing) + "' instead of " + shown());
        ++at_;
        skip_space();
        if (peek() == closing) return fail("a comma after the last entry", "remove it");
      }
      const bool done = kind == Node::Kind::kMap ? member(*node, keys) : item(*node);
      if (!done) return nullptr;
      skip_space();
    }
    ++at_;
    --depth_;
    return node;
  }

  bool item(Node& list) {
    const Node* node = value();
    if (node != nullptr) list.members.push_back({nullptr, node});
    return node != nullptr;
  }

  bool member(Node& map, std::unordered_set<std::string_view>& keys) {
    if (peek() != '"') return fail("expected a key in double quotes instead of " + shown()) != nullptr;
    const Node* key = string();
    if (key == nullptr) return false;
    skip_space();
    if (peek() != ':') return fail("expected ':' after the key instead of " + shown()) != nullptr;
    ++at_;
    skip_space();
    const Node* node = value();
    if (node == nullptr) return false;
    if (keys.insert(key->text).second) {
      map.members.push_back({key, node});
    } else {
      const Member* first = map.find(key->text);
      diagnostics_.error_at(key->place, "", "the key '" + key->text + "' is written twice",
                            "first at line " + std::to_string(first->key->place.line));
    }
    return true;
  }

  const Node* literal() {
    const size_t length = std::min(text_.substr(at_).find_first_of(" \t\r\n,:]}{[\"/"), text_.size() - at_);
    const std::string_view word = text_.substr(at_, length);
    if (word != "null" && word != "true" && word != "false" && !is_number(word)) {
      return fail("expected a value instead of " + shown(),
                  word.empty() ? "" : "text stands in double quotes");
    }
    Node* node = document_.make(word == "null" ? Node::Kind::kNull : Node::Kind::kScalar, place());
    node->text = word;
    node->style = word == "true" || word == "false" ? Node::Style::kBool : Node::Style::kNumber;
    at_ += length;
    return node;
  }

  static bool is_number(std::string_view word) {
    const auto digits = [&] {
      const size_t n = std::min(word.find_first_not_of("0123456789"), word.size());
      word.remove_prefix(n);
      return n;
    };
    if (word.starts_with('-')) word.remove_prefix(1);
    const bool zero = word.starts_with('0');
    const size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) return false;
    if (word.starts_with('.')) {
      word.remove_prefix(1);
      if (digits() == 0) return false;
    }
    if (word.starts_with('e') || word.starts_with('E')) {
      word.remove_prefix(1);
      if (word.starts_with('+') || word.starts_with('-')) word.remove_prefix(1);
      if (digits() == 0) return false;
    }
    return word.empty();
  }

  const Node* string() {
    Node* node = document_.make(Node::Kind::kScalar, place());
    node->style = Node::Style::kString;
    ++at_;
    while (true) {
      const size_t run = text_.find_first_of("\"\\\n", at_);
      if (run == std::string_view::npos || text_[run] == '\n')
        return fail("a string without its closing quote");
      node->text += text_.substr(at_, run - at_);
      at_ = run + 1;
      if (text_[run] == '"') return node;
      if (!escape(node->text)) return nullptr;
    }
  }

  bool escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case 'b':
        out += '\b';
        return true;
      case 'f':
        out += '\f';
        return true;
      case 'n':
        out += '\n';
        return true;
      case 'r':
        out += '\r';
        return true;
      case 't':
        out += '\t';
        return true;
      case '"':
      case '\\':
      case '/':
        out += c;
        return true;
      case 'u':
        break;
      default:
        return fail("an unknown escape in a string") != nullptr;
    }
    std::optional<uint32_t> code = hex4();
    if (code && *code >= 0xd800 && *code < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const std::optional<uint32_t> low = hex4();
      code = low && *low >= 0xdc00 && *low < 0xe000
                 ? std::optional(0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00))
                 : std::nullopt;
    }
    if (!code || *code == 0 || (*code >= 0xd800 && *code < 0xe000)) {
      return fail("a bad \\u escape in a string") != nullptr;
    }
    append_utf8(out, *code);
    return true;
  }

  std::optional<uint32_t> hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!letter && (c < '0' || c > '9')) return std::nullopt;
      code = code << 4 | static_cast<uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
      ++at_;
    }
    return code;
  }

  std::string_view text_;
  uint16_t file_;
  Document& document_;
  Diagnostics& diagnostics_;
  size_t at_ = 0;
  size_t line_start_ = 0;
  uint32_t line_ = 1;
  uint32_t depth_ = 0;
};

}  // namespace

bool parse_json(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (!check_text(text, file, document.limits(), diagnostics)) return false;
  return JsonReader(text, file, document, diagnostics).read();
}

}  // namespace millrace::config
