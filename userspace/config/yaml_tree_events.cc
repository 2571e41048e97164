// YAML through yaml-cpp's event interface, the only one that gives a mark for everything. Its exceptions end
// here.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <unordered_map>
#include <unordered_set>

#include "config/yaml_tree.h"

namespace millrace::config {

namespace {

// Thrown through yaml-cpp, which offers no other way to stop; caught in parse_yaml.
struct Stop {};

// An istream over bytes that someone else keeps.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // streambuf's interface; only read from
    setg(begin, begin, begin + text.size());
  }
};

class TreeHandler : public YAML::EventHandler {
 public:
  TreeHandler(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics)
      : text_(text), file_(file), document_(document), diagnostics_(diagnostics) {}

  // yaml-cpp ends a quoted scalar at the end of the file without a word; only the last one can be open.
  void check_last_quote() {
    if (last_quoted_ >= text_.size()) return;
    const char quote = text_[last_quoted_];
    if (quote != '"' && quote != '\'') return;
    for (size_t i = last_quoted_ + 1; i < text_.size(); ++i) {
      const bool escape = quote == '"' ? text_[i] == '\\' : text_.substr(i, 2) == "''";
      if (escape) {
        ++i;
      } else if (text_[i] == quote) {
        return;
      }
    }
    diagnostics_.error_at(last_quoted_place_, "", "a quote that is never closed");
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (document_.root() != nullptr) {
      fail(place_of(mark), "a second YAML document starts here",
           "write one document, without '---' or '...' inside");
    }
    anchors_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const bool item = !levels_.empty() && levels_.back().node->is_sequence();
    Node* node = document_.make(Node::Kind::kNull, item ? place_of_dash(mark) : place_of(mark));
    remember(anchor, node);
    attach(node);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node* node = document_.make(Node::Kind::kScalar, place_of(mark));
    node->text = value;
    // "?" is plain, "!" quoted; of YAML's own tags only these two change what a scalar means.
    const bool plain = tag.empty() || tag == "?" || (tag != "!" && tag != "tag:yaml.org,2002:str");
    node->style = plain ? Node::Style::kPlain : Node::Style::kString;
    if (tag == "tag:yaml.org,2002:null") node->kind = Node::Kind::kNull;
    if (!plain) {
      last_quoted_ = static_cast<size_t>(mark.pos);
      last_quoted_place_ = node->place;
    }
    remember(anchor, node);
    attach(node, tag == "!ignore");
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end() || !found->second->complete)
      fail(place_of(mark), "an alias inside its own anchor");
    alias_nodes_ += found->second->weight;
    if (alias_nodes_ > document_.limits().alias_nodes) {
      fail(place_of(mark),
           "aliases stand for more than " + std::to_string(document_.limits().alias_nodes) + " nodes");
    }
    attach(found->second);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::kSequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override {
    fold_merges();
    close();
  }

 private:
  struct Level {
    Node* node = nullptr;
    bool ignored_key = false;   // the key waiting for its value is tagged !ignore
    const Node* key = nullptr;  // waiting for its value
    std::unordered_set<std::string_view> keys;
    std::vector<Member> merges;
  };

  Place place_of(const YAML::Mark& mark) const {
    if (mark.is_null()) return {1, 1, file_};
    return {static_cast<uint32_t>(mark.line + 1), static_cast<uint16_t>(std::min(mark.column + 1, 65535)),
            file_};
  }

  // An empty item is marked where the next thing begins; its dash stands before that.
  Place place_of_dash(const YAML::Mark& mark) const {
    const size_t end = std::min(static_cast<size_t>(std::max(mark.pos, 0)), text_.size());
    const size_t dash = text_.substr(0, end).find_last_not_of(" \t\r\n");
    if (dash == std::string_view::npos || text_[dash] != '-') return place_of(mark);
    const auto lines = std::count(text_.begin() + static_cast<ptrdiff_t>(dash),
                                  text_.begin() + static_cast<ptrdiff_t>(end), '\n');
    const size_t line_start = text_.substr(0, dash).rfind('\n') + 1;  // npos + 1 is the first line's 0
    Place place = place_of(mark);
    place.line -= static_cast<uint32_t>(lines);
    place.column = static_cast<uint16_t>(std::min<size_t>(dash - line_start + 1, 65535));
    return place;
  }

  [[noreturn]] void fail(Place place, std::string what, std::string hint = {}) {
    diagnostics_.error_at(place, "", std::move(what), std::move(hint));
    throw Stop{};
  }

  void remember(YAML::anchor_t anchor, Node* node) {
    if (anchor != 0) anchors_[anchor] = node;
  }

  void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    const Place place = place_of(mark);
    if (levels_.size() >= document_.limits().depth) {
      fail(place, "nested more than " + std::to_string(document_.limits().depth) + " levels deep");
    }
    if (!levels_.empty() && levels_.back().node->is_map() && levels_.back().key == nullptr) {
      fail(place, kind == Node::Kind::kMap ? "a mapping as a key" : "a list as a key",
           "braces or brackets in a template must be filled in or quoted");
    }
    Node* node = document_.make(kind, place);
    node->complete = false;
    remember(anchor, node);
    Level level;
    level.node = node;
    levels_.push_back(std::move(level));
  }

  void close() {
    Node* node = levels_.back().node;
    uint64_t weight = 1;
    for (const Member& member : node->members) weight += 1 + member.value->weight;
    node->weight = static_cast<uint32_t>(std::min<uint64_t>(weight, UINT32_MAX / 2));
    node->complete = true;
    levels_.pop_back();
    attach(node);
  }

  // A finished node goes to the container around it, as item, key or value.
  void attach(const Node* node, bool ignore_tag = false) {
    if (levels_.empty()) {
      document_.set_root(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node->is_sequence()) {
      level.node->members.push_back({nullptr, node});
      return;
    }
    if (level.key == nullptr) {
      if (!node->is_scalar() && !node->is_null()) fail(node->place, node->describe() + " as a key");
      level.key = node;
      level.ignored_key = ignore_tag;
      return;
    }
    const Member member{level.key, node};
    level.key = nullptr;
    if (level.ignored_key) return;
    if (member.key->text == "<<" && member.key->style == Node::Style::kPlain) {
      level.merges.push_back(member);
      return;
    }
    if (!level.keys.insert(member.key->text).second) {
      const Member* first = level.node->find(member.key->text);
      diagnostics_.error_at(member.key->place, "", "the key '" + member.key->text + "' is written twice",
                            "first at line " + std::to_string(first->key->place.line));
      return;
    }
    level.node->members.push_back(member);
  }

  // YAML 1.1's merge: keys of the mapping itself win, then the mappings of the list from first to last.
  void fold_merges() {
    Level& level = levels_.back();
    for (const Member& merge : level.merges) {
      if (merge.value->is_map()) {
        fold(level, *merge.value);
        continue;
      }
      bool all_maps = merge.value->is_sequence();
      for (const Member& item : merge.value->members) all_maps = all_maps && item.value->is_map();
      if (!all_maps) {
        diagnostics_.error_at(merge.value->place, "", "'<<' merges " + merge.value->describe(),
                              "give it an alias of a mapping, or a list of them");
        continue;
      }
      for (const Member& item : merge.value->members) fold(level, *item.value);
    }
  }

  static void fold(Level& level, const Node& from) {
    for (const Member& member : from.members) {
      if (level.keys.insert(member.key->text).second) level.node->members.push_back(member);
    }
  }

  std::string_view text_;
  uint16_t file_;
  Document& document_;
  Diagnostics& diagnostics_;
  std::vector<Level> levels_;
  std::unordered_map<YAML::anchor_t, const Node*> anchors_;
  uint64_t alias_nodes_ = 0;
  size_t last_quoted_ = std::string_view::npos;  // where the last scalar began that is not plain
  Place last_quoted_place_;
};

std::string_view line_of(std::string_view text, uint32_t line) {
  while (line > 1 && !text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1);
    text.remove_prefix(end + 1);
    --line;
  }
  return text.substr(0, text.find('\n'));
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

bool is_dots(std::string_view content) {
  return content == "..." || content.starts_with("... ") || content == "- ...";
}

// The line, or the one before it that is not empty, holds nothing but "...", which YAML joins to what follows.
Place find_dots(std::string_view text, Place place) {
  for (uint32_t line = place.line; line > 0 && line + 8 > place.line; --line) {
    const std::string_view whole = line_of(text, line);
    const std::string_view content = trimmed(whole);
    if (is_dots(content)) return {line, static_cast<uint16_t>(whole.find('.') + 1), place.file};
    if (!content.empty() && line != place.line) break;
  }
  return {0, 0, place.file};
}

// yaml-cpp's own words are terse; where the line shows the reason, say it.
void report_syntax(const YAML::Exception& error, std::string_view text, uint16_t file,
                   Diagnostics& diagnostics) {
  Place place{1, 1, file};
  if (!error.mark.is_null()) {
    place.line = static_cast<uint32_t>(error.mark.line + 1);
    place.column = static_cast<uint16_t>(std::min(error.mark.column + 1, 65535));
  }
  const std::string_view line = line_of(text, place.line);
  const Place dots = find_dots(text, place);
  const std::string_view indent = line.substr(0, line.find_first_not_of(" \t"));
  if (indent.find('\t') != std::string_view::npos) {
    diagnostics.error_at(place, "", "a tab in the indentation", "YAML indents with spaces");
  } else if (dots.known()) {
    diagnostics.error_at(dots, "", "'...' is a placeholder, not configuration", "write what it stands for");
  } else if (error.msg == "end of map not found" || error.msg == "illegal map value") {
    diagnostics.error_at(place, "", "YAML syntax: " + error.msg,
                         "look at the indentation and at the colons of this line and the one before");
  } else {
    diagnostics.error_at(place, "", "YAML syntax: " + error.msg);
  }
}

}  // namespace

bool parse_yaml(std::string_view text, uint16_t file, Document& document, Diagnostics& diagnostics) {
  if (!check_text(text, file, document.limits(), diagnostics)) return false;
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  TreeHandler handler(text, file, document, diagnostics);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(handler)) {
    }
    handler.check_last_quote();
  } catch (const Stop&) {
    return false;
  } catch (const YAML::Exception& error) {
    report_syntax(error, text, file, diagnostics);
    return false;
  }
  if (document.root() == nullptr) document.set_root(document.make(Node::Kind::kNull, {1, 1, file}));
  return true;
}

}  // namespace millrace::config
