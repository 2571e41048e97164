// Finds the routes whose path condition holds for a path, in the order of the configuration, without walking them: whole
// paths in a hash table, prefixes in a byte-wise compressed trie, once more in lower case for routes that ignore case,
// regexes behind the prefix that they require. A lookup collects a few sorted lists of route numbers, Candidates merges
// them. A route that has no condition but its path cuts the list of its path or prefix behind itself.
// Built once, then only read, by any worker. A lookup allocates nothing; where more prefixes than Candidates::kMaxLists
// nest in one path, it walks all routes instead.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "route/options.h"
#include "route/regex.h"
#include "route/text.h"

namespace millrace::route {

// Sorted route numbers, [next, end).
struct RouteList {
  const uint32_t* next = nullptr;
  const uint32_t* end = nullptr;
};

// How far a string of the trie must reach for its routes to count.
enum class Reach : uint8_t {
  kPrefix,     // the text begins with it
  kSeparated,  // the text is it, or goes on with a slash
  kWhole,      // the text is it
};

class PrefixTrie {
 public:
  void add(std::string key, Reach reach, uint32_t route);
  // Ends the adding; ends_list(route) says that nothing behind the route can win in its list.
  void build(const std::function<bool(uint32_t)>& ends_list);
  bool empty() const { return nodes_.empty(); }
  // Calls f(RouteList) for every key that counts. fold: the text's upper-case letters count as lower-case ones.
  template <bool fold, class F>
  void find(std::string_view text, F&& f) const;

 private:
  struct Node {
    uint32_t label = 0;       // into labels_; the bytes between the parent's end and this node's
    uint32_t label_size = 0;  // without the first byte, by which the parent found it
    uint32_t children = 0;    // nodes_ and first_bytes_, side by side
    uint32_t child_count = 0;
    uint32_t lists[3][2] = {};  // by Reach: [begin, end) of routes_
    bool any_list = false;
  };
  struct Key {
    std::string text;
    Reach reach;
    uint32_t route;
  };
  static constexpr uint32_t kNoChild = ~0u;
  uint32_t child(const Node& node, unsigned char first) const;
  void build_node(uint32_t at, size_t begin, size_t end, size_t depth, const std::function<bool(uint32_t)>& ends_list);
  RouteList list(const Node& node, Reach reach) const {
    const uint32_t* range = node.lists[static_cast<size_t>(reach)];
    return {routes_.data() + range[0], routes_.data() + range[1]};
  }

  std::vector<Key> keys_;  // until build()
  std::vector<Node> nodes_;
  std::string first_bytes_;  // of each node's label; 16 bytes of padding
  std::string labels_;
  std::vector<uint32_t> routes_;
};

class PathIndex {
 public:
  // The n-th call adds route n. conditional: the route can still refuse a path that matches.
  base::Result<void> add(const PathMatch& match, bool conditional);
  void build();
  size_t size() const { return entries_.size(); }
  // Whether the path condition of one route holds; is_connect: the method is CONNECT.
  bool holds(uint32_t route, std::string_view path, bool is_connect) const;

 private:
  friend class Candidates;
  struct Entry {
    PathMatch match;  // in lower case where case is ignored
    std::optional<Regex> regex;
    bool conditional = false;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::vector<uint32_t>, Hash, std::equal_to<>> whole_;
  PrefixTrie prefixes_;
  PrefixTrie folded_;
  std::vector<uint32_t> connects_;
  bool any_regex_ = false;
};

// The routes of one lookup, ascending; borrowed index and path.
class Candidates {
 public:
  static constexpr uint32_t kNone = ~0u;
  static constexpr size_t kMaxLists = 48;
  // path: without query, fragment and, if the table says so, parameters; a null one takes CONNECT routes only.
  Candidates(const PathIndex& index, std::string_view path, bool is_connect);
  // The next route whose path condition holds; kNone at the end.
  uint32_t next();

 private:
  void add(RouteList list) {
    if (list.next == list.end) return;
    if (count_ == kMaxLists) { overflow_ = true; return; }
    lists_[count_++] = list;
  }
  uint32_t next_of_lists();

  const PathIndex& index_;
  std::string_view path_;
  uint32_t count_ = 0;
  uint32_t next_linear_ = 0;
  bool overflow_ = false;
  bool is_connect_;
  RouteList lists_[kMaxLists];
};

template <bool fold, class F>
void PrefixTrie::find(std::string_view text, F&& f) const {
  if (nodes_.empty()) return;
  const Node* node = &nodes_[0];
  size_t at = 0;  // bytes of the text that the path to the node takes
  for (;;) {
    if (node->any_list) {
      f(list(*node, Reach::kPrefix));
      if (at == text.size() || text[at] == '/') f(list(*node, Reach::kSeparated));
      if (at == text.size()) f(list(*node, Reach::kWhole));
    }
    if (at == text.size() || node->child_count == 0) return;
    const uint32_t next = child(*node, static_cast<unsigned char>(fold ? to_lower(text[at]) : text[at]));
    if (next == kNoChild) return;
    node = &nodes_[next];
    ++at;
    if (node->label_size == 0) continue;
    if (text.size() - at < node->label_size) return;
    const char* label = labels_.data() + node->label;
    if constexpr (fold) {
      for (uint32_t i = 0; i < node->label_size; ++i) {
        if (to_lower(text[at + i]) != label[i]) return;
      }
    } else if (std::memcmp(text.data() + at, label, node->label_size) != 0) {
      return;
    }
    at += node->label_size;
  }
}

}  // namespace millrace::route
