// A YAML or JSON document as a tree whose every node knows its line and column. Anchors are shared, not
// copied: the tree is a graph without cycles. Merge keys (<<) are folded in, keys tagged !ignore are gone, a
// key written twice is an error. Scalars stay text; what a plain one means (null, boolean, number) is
// resolved the way Envoy's loader does, so that what runs there means the same here. Limits stand against
// hostile input: bytes, nesting, and nodes reached through aliases. Owned by the Document; main thread.
#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.h"

namespace millrace::config {

struct Node;

struct Member {
  const Node* key = nullptr;  // null for an item of a sequence
  const Node* value = nullptr;
};

struct Node {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMap };
  // kPlain is an unquoted YAML scalar, whose meaning follows from its text.
  enum class Style : uint8_t { kPlain, kString, kNumber, kBool };

  Kind kind = Kind::kNull;
  Style style = Style::kString;
  bool complete = true;  // false while its end has not been read
  Place place;
  uint32_t weight = 1;          // nodes reached from here, aliases followed
  std::string text;             // of a scalar
  std::vector<Member> members;  // of a sequence or a map

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_sequence() const { return kind == Kind::kSequence; }
  bool is_map() const { return kind == Kind::kMap; }
  const Member* find(std::string_view key) const;
  // "a list", "a mapping", "the text ':9001'", "the number 5", ...
  std::string describe() const;
};

// What a scalar is to a loader without a schema. Envoy's reads a plain YAML scalar as a boolean (true, yes,
// on, y, ...), as a number when it is an integer of 32 bits, and as text otherwise, so fractions and large
// integers are text.
enum class ScalarType : uint8_t { kText, kBool, kNumber };
ScalarType scalar_type(const Node& node);
bool bool_of(const Node& node);  // of a kBool
// Text that stands for something left out or filled in by a template: "...", "{{ port }}", "${PORT}",
// "<address>".
bool is_placeholder(std::string_view text);

struct TreeLimits {
  size_t bytes = 256u << 20;
  uint32_t depth = 200;
  uint32_t alias_nodes = 1'000'000;
};

class Document {
 public:
  explicit Document(TreeLimits limits = {}) : limits_(limits) {}
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  const Node* root() const { return root_; }  // null until parsed
  void set_root(const Node* root) { root_ = root; }
  Node* make(Node::Kind kind, Place place);
  const TreeLimits& limits() const { return limits_; }

 private:
  TreeLimits limits_;
  std::deque<Node> nodes_;
  const Node* root_ = nullptr;
};

// False when there is no tree; the diagnostics say why. An empty document is a null root.
bool parse_yaml(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics);
bool parse_json(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics);
// What both refuse first: too long, NUL bytes, text that is not UTF-8.
bool check_text(std::string_view text, uint16_t file, const TreeLimits& limits, Diagnostics& diagnostics);

}  // namespace millrace::config
