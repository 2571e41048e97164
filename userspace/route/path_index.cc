#include "route/path_index.h"

#include <algorithm>

#include "route/text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace millrace::route {
namespace {

bool begins_with(std::string_view text, std::string_view prefix, bool fold) {
  if (text.size() < prefix.size()) return false;
  if (!fold) return text.substr(0, prefix.size()) == prefix;
  return std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == to_lower(b); });
}

}  // namespace

void PrefixTrie::add(std::string key, Reach reach, uint32_t route) {
  keys_.push_back({std::move(key), reach, route});
}

void PrefixTrie::build(const std::function<bool(uint32_t)>& ends_list) {
  if (keys_.empty()) return;
  std::sort(keys_.begin(), keys_.end(), [](const Key& a, const Key& b) {
    return std::tie(a.text, a.reach, a.route) < std::tie(b.text, b.reach, b.route);
  });
  nodes_.emplace_back();
  first_bytes_.push_back('\0');
  build_node(0, 0, keys_.size(), 0, ends_list);
  first_bytes_.append(16, '\0');
  keys_.clear();
  keys_.shrink_to_fit();
}

// The keys [begin, end) agree in their first `depth` bytes, which end at node `at`.
void PrefixTrie::build_node(uint32_t at, size_t begin, size_t end, size_t depth,
                            const std::function<bool(uint32_t)>& ends_list) {
  std::array<bool, 3> ended{};
  for (; begin < end && keys_[begin].text.size() == depth; ++begin) {
    const auto reach = static_cast<size_t>(keys_[begin].reach);
    if (ended[reach]) continue;
    uint32_t* range = nodes_[at].lists[reach];
    if (range[0] == range[1]) range[0] = range[1] = static_cast<uint32_t>(routes_.size());
    routes_.push_back(keys_[begin].route);
    ++range[1];
    nodes_[at].any_list = true;
    ended[reach] = ends_list(keys_[begin].route);
  }
  std::vector<std::pair<size_t, size_t>> groups;  // by the next byte
  for (size_t i = begin; i < end;) {
    size_t j = i;
    while (j < end && keys_[j].text[depth] == keys_[i].text[depth]) ++j;
    groups.emplace_back(i, j);
    i = j;
  }
  const auto first_child = static_cast<uint32_t>(nodes_.size());
  nodes_[at].children = first_child;
  nodes_[at].child_count = static_cast<uint32_t>(groups.size());
  nodes_.resize(nodes_.size() + groups.size());
  for (const auto& [i, j] : groups) first_bytes_.push_back(keys_[i].text[depth]);
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto [i, j] = groups[g];
    const std::string& low = keys_[i].text;
    const std::string& high = keys_[j - 1].text;  // sorted: what these two share, all share
    const size_t limit = std::min(low.size(), high.size());
    size_t shared = depth + 1;
    while (shared < limit && low[shared] == high[shared]) ++shared;
    Node& node = nodes_[first_child + g];
    node.label = static_cast<uint32_t>(labels_.size());
    node.label_size = static_cast<uint32_t>(shared - depth - 1);
    labels_.append(low, depth + 1, node.label_size);
    build_node(first_child + static_cast<uint32_t>(g), i, j, shared, ends_list);
  }
}

uint32_t PrefixTrie::child(const Node& node, unsigned char first) const {
  const char* bytes = first_bytes_.data() + node.children;
  if (node.child_count == 1) return static_cast<unsigned char>(*bytes) == first ? node.children : kNoChild;
#if defined(__SSE2__)
  if (node.child_count <= 16) {
    const __m128i all = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const auto equal = static_cast<unsigned>(
        _mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_set1_epi8(static_cast<char>(first)))));
    const unsigned mine = equal & ((1u << node.child_count) - 1);
    return mine == 0 ? kNoChild : node.children + static_cast<uint32_t>(__builtin_ctz(mine));
  }
#endif
  const void* found = std::memchr(bytes, first, node.child_count);
  if (found == nullptr) return kNoChild;
  return node.children + static_cast<uint32_t>(static_cast<const char*>(found) - bytes);
}

base::Result<void> PathIndex::add(const PathMatch& match, bool conditional) {
  const auto route = static_cast<uint32_t>(entries_.size());
  Entry entry{match, std::nullopt, conditional};
  if (!match.case_sensitive && match.kind != PathMatch::Kind::kSafeRegex) entry.match.value = to_lower(match.value);
  PrefixTrie& trie = match.case_sensitive ? prefixes_ : folded_;
  switch (match.kind) {
    case PathMatch::Kind::kPrefix: trie.add(entry.match.value, Reach::kPrefix, route); break;
    case PathMatch::Kind::kPathSeparatedPrefix: trie.add(entry.match.value, Reach::kSeparated, route); break;
    case PathMatch::Kind::kPath:
      if (match.case_sensitive) {
        whole_[match.value].push_back(route);
      } else {
        trie.add(entry.match.value, Reach::kWhole, route);
      }
      break;
    case PathMatch::Kind::kSafeRegex: {
      auto regex = Regex::compile(match.value);
      if (!regex) return std::move(regex).error();
      prefixes_.add(regex->required_prefix(), Reach::kPrefix, route);
      entry.regex.emplace(*std::move(regex));
      any_regex_ = true;
      break;
    }
    case PathMatch::Kind::kConnect: connects_.push_back(route); break;
  }
  entries_.push_back(std::move(entry));
  return {};
}

void PathIndex::build() {
  const auto ends_list = [this](uint32_t route) { return !entries_[route].conditional && !entries_[route].regex; };
  prefixes_.build(ends_list);
  folded_.build(ends_list);
  for (auto& [path, routes] : whole_) {
    const auto last = std::find_if(routes.begin(), routes.end(), ends_list);
    if (last != routes.end()) routes.erase(last + 1, routes.end());
    routes.shrink_to_fit();
  }
}

bool PathIndex::holds(uint32_t route, std::string_view path, bool is_connect) const {
  const Entry& entry = entries_[route];
  if (entry.match.kind == PathMatch::Kind::kConnect) return is_connect;
  if (path.data() == nullptr) return false;
  if (entry.regex) return entry.regex->matches_whole(path);
  const std::string& value = entry.match.value;
  if (!begins_with(path, value, !entry.match.case_sensitive)) return false;
  switch (entry.match.kind) {
    case PathMatch::Kind::kPath: return path.size() == value.size();
    case PathMatch::Kind::kPathSeparatedPrefix: return path.size() == value.size() || path[value.size()] == '/';
    default: return true;
  }
}

Candidates::Candidates(const PathIndex& index, std::string_view path, bool is_connect)
    : index_(index), path_(path), is_connect_(is_connect) {
  if (is_connect) add({index.connects_.data(), index.connects_.data() + index.connects_.size()});
  if (path.data() == nullptr) return;
  if (!index.whole_.empty()) {
    if (const auto it = index.whole_.find(path); it != index.whole_.end()) {
      add({it->second.data(), it->second.data() + it->second.size()});
    }
  }
  index.prefixes_.find<false>(path, [this](RouteList list) { add(list); });
  index.folded_.find<true>(path, [this](RouteList list) { add(list); });
}

uint32_t Candidates::next_of_lists() {
  uint32_t best = kNone;
  uint32_t best_list = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    if (*lists_[i].next < best) {
      best = *lists_[i].next;
      best_list = i;
    }
  }
  if (best == kNone) return kNone;
  if (++lists_[best_list].next == lists_[best_list].end) lists_[best_list] = lists_[--count_];
  return best;
}

uint32_t Candidates::next() {
  if (overflow_) {
    while (next_linear_ < index_.size()) {
      const uint32_t route = next_linear_++;
      if (index_.holds(route, path_, is_connect_)) return route;
    }
    return kNone;
  }
  for (;;) {
    const uint32_t route = next_of_lists();
    if (route == kNone || !index_.any_regex_) return route;
    const PathIndex::Entry& entry = index_.entries_[route];
    if (!entry.regex || entry.regex->matches_whole(path_)) return route;
  }
}

}  // namespace millrace::route
