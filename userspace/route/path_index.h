// Finds the routes whose path condition holds for a path, in the order of the configuration, without walking
// them: whole paths in a hash table, prefixes in a trie, once more in lower case for routes that ignore case,
// regexes behind the prefix that they require. A lookup collects a few sorted lists of route numbers,
// Candidates merges them. A route that has no condition but its path cuts the list of its path or prefix behind
// itself. Built once, then only read, by any worker. A lookup allocates nothing; where more prefixes than
// Candidates::kMaxLists nest in one path, it walks all routes instead.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "route/options.h"
#include "route/regex.h"

namespace millrace::route {

// Sorted route numbers, [next, end).
struct RouteList {
  const uint32_t* next;
  const uint32_t* end;
};

// How far a string of the trie must reach for its routes to count.
enum class Reach : uint8_t {
  kPrefix,     // the text begins with it
  kSeparated,  // the text is it, or goes on with a slash
  kWhole,      // the text is it
};

// Strings, and the route lists of those a text begins with. A step of the trie takes as many bytes as all strings below
// it still have in length, found in one hash lookup: ten thousand strings of one length are one step, strings that are
// prefixes of one another are a step each.
class PrefixTrie {
 public:
  void add(std::string key, Reach reach, uint32_t route);
  // Ends the adding; ends_list(route) says that nothing behind the route can win in its list.
  void build(const std::function<bool(uint32_t)>& ends_list);
  // Calls f(RouteList) for every key that counts. fold: the text's upper-case letters count as lower-case ones,
  // which the keys are made of.
  template <bool fold, class F>
  void find(std::string_view text, F&& f) const;

 private:
  struct Node {
    uint32_t label = 0;     // into labels_: the bytes of the step that led here
    uint32_t stride = 0;    // bytes of the next step; 0: a leaf
    uint32_t mask = 0;      // of the slots; 0: one child
    uint32_t children = 0;  // the first slot, or the child
    uint32_t lists = kNone; // into lists_
  };
  struct Slot {
    uint32_t tag = 0;      // upper half of the hash
    uint32_t node = 0;     // 0, the root: free
  };
  struct Lists {
    uint32_t ranges[3][2] = {};  // by Reach: [begin, end) of routes_
  };
  struct Key {
    std::string text;
    Reach reach;
    uint32_t route;
  };
  using EndsList = std::function<bool(uint32_t)>;
  static constexpr uint32_t kNone = ~0u;

  template <bool fold>
  static uint64_t hash(const char* bytes, size_t n);
  template <bool fold>
  uint32_t child(const Node& node, const char* bytes) const;
  size_t add_lists(uint32_t at, size_t begin, size_t end, size_t depth, const EndsList& ends_list);
  void build_node(uint32_t at, size_t begin, size_t end, size_t depth, const EndsList& ends_list);
  template <class F>
  void emit(const Lists& lists, Reach reach, F&& f) const {
    const uint32_t* range = lists.ranges[static_cast<size_t>(reach)];
    if (range[0] != range[1]) f(RouteList{routes_.data() + range[0], routes_.data() + range[1]});
  }

  std::vector<Key> keys_;  // until build()
  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
  std::vector<Lists> lists_;
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
  const Node* node = nodes_.data();
  size_t at = 0;  // bytes of the text that the steps so far took
  for (;;) {
    if (node->lists != kNone) {
      const Lists& lists = lists_[node->lists];
      emit(lists, Reach::kPrefix, f);
      if (at == text.size() || text[at] == '/') emit(lists, Reach::kSeparated, f);
      if (at == text.size()) emit(lists, Reach::kWhole, f);
    }
    const size_t stride = node->stride;
    if (stride == 0 || text.size() - at < stride) return;
    const uint32_t next = child<fold>(*node, text.data() + at);
    if (next == kNone) return;
    node = &nodes_[next];
    at += stride;
  }
}

}  // namespace millrace::route
