#include "route/path_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include "route/text.h"

namespace millrace::route {
namespace {

bool begins_with(std::string_view text, std::string_view prefix, bool fold) {
  if (text.size() < prefix.size()) return false;
  if (!fold) return text.substr(0, prefix.size()) == prefix;
  return std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == to_lower(b); });
}

template <class Word>
Word load(const char* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// Eight bytes at once: bit 7 of each byte of `upper` says whether it is an ASCII capital.
template <bool fold>
uint64_t lower_if(uint64_t word) {
  if constexpr (!fold) return word;
  constexpr uint64_t kOnes = 0x0101010101010101ull;
  const uint64_t low_bits = word & (kOnes * 0x7f);
  const uint64_t at_least_a = low_bits + kOnes * (0x80 - 'A');
  const uint64_t beyond_z = low_bits + kOnes * (0x7f - 'Z');
  const uint64_t upper = (at_least_a ^ beyond_z) & ~word & (kOnes * 0x80);
  return word | upper >> 2;
}

// label is in lower case if text is folded. Inline, for labels are short: a call of memcmp costs more than the
// comparison.
template <bool fold>
bool same_bytes(const char* text, const char* label, size_t n) {
  if (n >= 8) {
    size_t at = 0;
    for (; at + 8 < n; at += 8) {
      if (lower_if<fold>(load<uint64_t>(text + at)) != load<uint64_t>(label + at)) return false;
    }
    return lower_if<fold>(load<uint64_t>(text + n - 8)) == load<uint64_t>(label + n - 8);
  }
  if (n >= 4) {
    return lower_if<fold>(load<uint32_t>(text)) == load<uint32_t>(label) &&
           lower_if<fold>(load<uint32_t>(text + n - 4)) == load<uint32_t>(label + n - 4);
  }
  for (size_t i = 0; i < n; ++i) {
    if ((fold ? to_lower(text[i]) : text[i]) != label[i]) return false;
  }
  return true;
}

}  // namespace

void PrefixTrie::add(std::string key, Reach reach, uint32_t route) {
  keys_.push_back({std::move(key), reach, route});
}

void PrefixTrie::build(const EndsList& ends_list) {
  if (keys_.empty()) return;
  std::sort(keys_.begin(), keys_.end(), [](const Key& a, const Key& b) {
    return std::tie(a.text, a.reach, a.route) < std::tie(b.text, b.reach, b.route);
  });
  nodes_.emplace_back();
  build_node(0, 0, keys_.size(), 0, ends_list);
  keys_.clear();
  keys_.shrink_to_fit();
}

// Gives node `at` the routes of the keys that end there, which come first, and returns the first key that goes on.
size_t PrefixTrie::add_lists(uint32_t at, size_t begin, size_t end, size_t depth, const EndsList& ends_list) {
  bool ended[3] = {};
  for (; begin < end && keys_[begin].text.size() == depth; ++begin) {
    const auto reach = static_cast<size_t>(keys_[begin].reach);
    if (ended[reach]) continue;
    if (nodes_[at].lists == kNone) {
      nodes_[at].lists = static_cast<uint32_t>(lists_.size());
      lists_.emplace_back();
    }
    uint32_t* range = lists_[nodes_[at].lists].ranges[reach];
    if (range[0] == range[1]) range[0] = range[1] = static_cast<uint32_t>(routes_.size());
    routes_.push_back(keys_[begin].route);
    ++range[1];
    ended[reach] = ends_list(keys_[begin].route);
  }
  return begin;
}

// The keys [begin, end) agree in their first `depth` bytes, which end at node `at`.
void PrefixTrie::build_node(uint32_t at, size_t begin, size_t end, size_t depth, const EndsList& ends_list) {
  begin = add_lists(at, begin, end, depth, ends_list);
  if (begin == end) return;
  size_t stride = keys_[begin].text.size() - depth;
  for (size_t i = begin; i < end; ++i) stride = std::min(stride, keys_[i].text.size() - depth);
  std::vector<std::pair<size_t, size_t>> groups;  // keys that take the same step
  for (size_t i = begin; i < end;) {
    const std::string_view step = std::string_view(keys_[i].text).substr(depth, stride);
    size_t j = i + 1;
    while (j < end && std::string_view(keys_[j].text).substr(depth, stride) == step) ++j;
    groups.emplace_back(i, j);
    i = j;
  }
  const auto first_child = static_cast<uint32_t>(nodes_.size());
  nodes_.resize(nodes_.size() + groups.size());
  nodes_[at].stride = static_cast<uint32_t>(stride);
  nodes_[at].children = first_child;
  if (groups.size() > 1) {
    const auto slot_count = static_cast<uint32_t>(std::bit_ceil(groups.size() * 2));
    nodes_[at].mask = slot_count - 1;
    nodes_[at].children = static_cast<uint32_t>(slots_.size());
    slots_.resize(slots_.size() + slot_count);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::string& key = keys_[groups[g].first].text;
    const auto node = first_child + static_cast<uint32_t>(g);
    nodes_[node].label = static_cast<uint32_t>(labels_.size());
    labels_.append(key, depth, stride);
    if (groups.size() == 1) break;
    const uint64_t h = hash<false>(key.data() + depth, stride);
    Slot* const slots = &slots_[nodes_[at].children];
    uint64_t slot = h & nodes_[at].mask;
    while (slots[slot].node != 0) slot = (slot + 1) & nodes_[at].mask;
    slots[slot] = {static_cast<uint32_t>(h >> 32), node};
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    build_node(first_child + static_cast<uint32_t>(g), groups[g].first, groups[g].second, depth + stride, ends_list);
  }
}

// Keys are configured, not sent, so the hash need not resist anybody: multiply and fold, eight bytes at a time.
template <bool fold>
uint64_t PrefixTrie::hash(const char* bytes, size_t n) {
  const auto mix = [](uint64_t word) {
    const auto product = static_cast<unsigned __int128>(word ^ 0xa0761d6478bd642full) * 0xe7037ed1a0b428dbull;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  uint64_t h = n;
  for (; n > 8; bytes += 8, n -= 8) h = mix(h ^ lower_if<fold>(load<uint64_t>(bytes)));
  uint64_t last = 0;
  if (n == 8) {
    last = load<uint64_t>(bytes);
  } else if (n >= 4) {
    last = load<uint32_t>(bytes) | static_cast<uint64_t>(load<uint32_t>(bytes + n - 4)) << 32;
  } else {
    for (size_t i = 0; i < n; ++i) last = last << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return mix(h ^ lower_if<fold>(last));
}

template <bool fold>
uint32_t PrefixTrie::child(const Node& node, const char* bytes) const {
  if (node.mask == 0)
    return same_bytes<fold>(bytes, &labels_[nodes_[node.children].label], node.stride) ? node.children : kNone;
  const uint64_t h = hash<fold>(bytes, node.stride);
  const Slot* const slots = &slots_[node.children];
  for (uint64_t slot = h & node.mask; slots[slot].node != 0; slot = (slot + 1) & node.mask) {
    if (slots[slot].tag != static_cast<uint32_t>(h >> 32)) continue;
    if (same_bytes<fold>(bytes, &labels_[nodes_[slots[slot].node].label], node.stride)) return slots[slot].node;
  }
  return kNone;
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

template uint32_t PrefixTrie::child<false>(const Node&, const char*) const;
template uint32_t PrefixTrie::child<true>(const Node&, const char*) const;

Candidates::Candidates(const PathIndex& index, std::string_view path, bool is_connect)
    : index_(index), path_(path), is_connect_(is_connect) {
  if (is_connect && !index.connects_.empty())
    add({index.connects_.data(), index.connects_.data() + index.connects_.size()});
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
