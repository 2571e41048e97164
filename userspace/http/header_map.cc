#include "http/header_map.h"

#include <bit>
#include <cstring>

#include "http/chars.h"
#include "http/scan.h"

namespace millrace::http {
namespace {

constexpr std::array<std::string_view, kKnownHeaders> kNames = {
#define MILLRACE_X(enumerator, wire) wire,
    MILLRACE_HTTP_HEADERS(MILLRACE_X)
#undef MILLRACE_X
};

constexpr size_t kArenaBytes = 4096;
constexpr size_t kOwnBlockBytes = 1024;  // larger pieces get a block of their own, the arena stays small

template <class Word>
constexpr uint64_t load(const char* from) {
  if (std::is_constant_evaluated()) {
    uint64_t word = 0;
    for (size_t i = 0; i < sizeof(Word); ++i) {
      word |= static_cast<uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
    }
    return word;
  }
  Word word;
  std::memcpy(&word, from, sizeof word);  // little-endian, as the constexpr branch (x86-64, arm64)
  return word;
}
static_assert(std::endian::native == std::endian::little);

// First, middle and last bytes with the length: enough to tell all well-known names apart, checked below.
constexpr uint64_t name_key(std::string_view s) {
  const char* p = s.data();
  const size_t n = s.size();
  if (n >= 8) {
    return load<uint64_t>(p) ^ std::rotl(load<uint64_t>(p + (n - 8) / 2), 19) ^
           std::rotl(load<uint64_t>(p + n - 8), 37) ^ n;
  }
  if (n >= 4) return load<uint32_t>(p) | load<uint32_t>(p + n - 4) << 32;
  if (n == 0) return 0;
  return load<uint8_t>(p) | load<uint8_t>(p + n / 2) << 8 | load<uint8_t>(p + n - 1) << 16 | uint64_t{n} << 24;
}

constexpr unsigned kSlotBits = 9;
struct NameTable {
  uint64_t multiplier = 0;
  std::array<uint8_t, 1u << kSlotBits> slots{};
};

constexpr unsigned slot_of(uint64_t key, uint64_t multiplier) {
  key ^= key >> 29;
  return static_cast<unsigned>(key * multiplier >> (64 - kSlotBits));
}

// A perfect hash: tries multipliers until every name has its own slot. Fails to compile if none does.
constexpr NameTable make_name_table() {
  uint64_t multiplier = 0x9e3779b97f4a7c15ull;
  for (int attempt = 0; attempt < 5000; ++attempt) {
    NameTable table;
    table.multiplier = multiplier;
    table.slots.fill(static_cast<uint8_t>(Header::kOther));
    bool clash = false;
    for (size_t i = 0; i < kKnownHeaders && !clash; ++i) {
      uint8_t& slot = table.slots[slot_of(name_key(kNames[i]), multiplier)];
      clash = slot != static_cast<uint8_t>(Header::kOther);
      slot = static_cast<uint8_t>(i);
    }
    if (!clash) return table;
    multiplier = (multiplier * 6364136223846793005ull + 1442695040888963407ull) | 1;
  }
  return {};
}

constexpr NameTable kNameTable = make_name_table();
static_assert(kNameTable.multiplier != 0, "no perfect hash found: widen kSlotBits");

}  // namespace

std::string_view name(Header header) {
  return header == Header::kOther ? std::string_view{} : kNames[static_cast<size_t>(header)];
}

Header header_id(std::string_view lower_name) {
  const uint8_t at = kNameTable.slots[slot_of(name_key(lower_name), kNameTable.multiplier)];
  if (at == static_cast<uint8_t>(Header::kOther)) return Header::kOther;
  const std::string_view known = kNames[at];
  const bool same = known.size() == lower_name.size() && scan::equal(known.data(), lower_name.data(), known.size());
  return same ? static_cast<Header>(at) : Header::kOther;
}

bool valid_name(std::string_view name) { return !name.empty() && chars::all(name, chars::kToken); }
bool valid_value(std::string_view value) { return chars::all(value, chars::kFieldValue); }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (chars::lower(a[i]) != chars::lower(b[i])) return false;
  }
  return true;
}

bool list_has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (equal_ignoring_case(chars::trim(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

HeaderMap::HeaderMap() { first_.fill(0); }

std::string_view HeaderMap::get(std::string_view lower_name) const {
  const Header id = header_id(lower_name);
  if (id != Header::kOther) return get(id);
  for (const Entry& e : entries_) {
    if (e.id == Header::kOther && !e.removed && e.name == lower_name) return e.value;
  }
  return {};
}

bool HeaderMap::has(std::string_view lower_name) const {
  const Header id = header_id(lower_name);
  if (id != Header::kOther) return has(id);
  for (const Entry& e : entries_) {
    if (e.id == Header::kOther && !e.removed && e.name == lower_name) return true;
  }
  return false;
}

std::string HeaderMap::joined(std::string_view lower_name) const {
  const Header id = header_id(lower_name);
  std::string out;
  bool any = false;
  for (const Entry& e : entries_) {
    if (e.removed || e.id != id || (id == Header::kOther && e.name != lower_name)) continue;
    if (any) out += ", ";
    out += e.value;
    any = true;
  }
  return out;
}

void HeaderMap::add(Header header, std::string_view value) { push(header, name(header), intern(value)); }

void HeaderMap::add(std::string_view lower_name, std::string_view value) {
  const Header id = header_id(lower_name);
  push(id, id == Header::kOther ? intern(lower_name) : name(id), intern(value));
}

void HeaderMap::add_view(Header header, std::string_view value) { push(header, name(header), value); }

void HeaderMap::add_view(std::string_view lower_name, std::string_view value) {
  push(header_id(lower_name), lower_name, value);
}

void HeaderMap::set(Header header, std::string_view value) { set_view(header, intern(value)); }

void HeaderMap::set_view(Header header, std::string_view value) {
  MILLRACE_DCHECK(header != Header::kOther);
  const uint16_t at = first_[static_cast<size_t>(header)];
  if (at == 0) return push(header, name(header), value);
  Entry& first = entries_[at - 1];
  bytes_ = bytes_ - first.value.size() + value.size();
  first.value = value;
  for (size_t i = at; i < entries_.size(); ++i) {
    if (entries_[i].id == header && !entries_[i].removed) erase_at(i);
  }
}

void HeaderMap::set(std::string_view lower_name, std::string_view value) {
  const Header id = header_id(lower_name);
  if (id != Header::kOther) return set(id, value);
  bool replaced = false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& e = entries_[i];
    if (e.removed || e.id != Header::kOther || e.name != lower_name) continue;
    if (replaced) {
      erase_at(i);
      continue;
    }
    bytes_ = bytes_ - e.value.size() + value.size();
    e.value = intern(value);
    replaced = true;
  }
  if (!replaced) push(Header::kOther, intern(lower_name), intern(value));
}

void HeaderMap::append_to(Entry& entry, std::string_view value, std::string_view delimiter) {
  const size_t size = entry.value.size() + delimiter.size() + value.size();
  char* const start = allocate(size);
  char* at = start;
  for (std::string_view part : {entry.value, delimiter, value}) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  bytes_ += size - entry.value.size();
  entry.value = {start, size};
}

void HeaderMap::append(Header header, std::string_view value, std::string_view delimiter) {
  const uint16_t at = first_[static_cast<size_t>(header)];
  if (at == 0) return add(header, value);
  append_to(entries_[at - 1], value, delimiter);
}

void HeaderMap::append(std::string_view lower_name, std::string_view value, std::string_view delimiter) {
  const Header id = header_id(lower_name);
  if (id != Header::kOther) return append(id, value, delimiter);
  for (Entry& e : entries_) {
    if (!e.removed && e.id == Header::kOther && e.name == lower_name) return append_to(e, value, delimiter);
  }
  push(Header::kOther, intern(lower_name), intern(value));
}

bool HeaderMap::remove(Header header) {
  const uint16_t at = first_[static_cast<size_t>(header)];
  if (at == 0) return false;
  // From the back, so that the first one is looked for once.
  for (size_t i = entries_.size(); i >= at; --i) {
    if (entries_[i - 1].id == header && !entries_[i - 1].removed) erase_at(i - 1);
  }
  return true;
}

bool HeaderMap::remove(std::string_view lower_name) {
  const Header id = header_id(lower_name);
  if (id != Header::kOther) return remove(id);
  return remove_if([&](const Entry& e) { return e.id == Header::kOther && e.name == lower_name; }) > 0;
}

void HeaderMap::erase_at(size_t index) {
  Entry& e = entries_[index];
  e.removed = true;
  --size_;
  bytes_ -= e.name.size() + e.value.size();
  if (e.id != Header::kOther && first_[static_cast<size_t>(e.id)] == index + 1) find_next_first(e.id, index + 1);
}

void HeaderMap::find_next_first(Header id, size_t from) {
  uint16_t& first = first_[static_cast<size_t>(id)];
  first = 0;
  for (size_t i = from; i < entries_.size(); ++i) {
    if (entries_[i].id == id && !entries_[i].removed) {
      first = static_cast<uint16_t>(i + 1);
      return;
    }
  }
}

void HeaderMap::clear() {
  if (entries_.empty() && held_.empty() && arena_used_ == 0) return;  // most trailers, most of the time
  entries_.clear();
  first_.fill(0);
  held_.clear();
  // Whoever still refers to the arena block may read views into it: leave it to them.
  if (arena_ && arena_->refs > 1) arena_.reset();
  arena_used_ = 0;
  size_ = 0;
  bytes_ = 0;
}

void HeaderMap::copy_from(const HeaderMap& other) {
  if (this == &other) return;
  clear();
  other.for_each([this](const Entry& e) {
    push(e.id, e.id == Header::kOther ? intern(e.name) : http::name(e.id), intern(e.value));
  });
}

std::string_view HeaderMap::intern(std::string_view bytes) {
  if (bytes.empty()) return {"", 0};
  char* at = allocate(bytes.size());
  std::memcpy(at, bytes.data(), bytes.size());
  return {at, bytes.size()};
}

char* HeaderMap::allocate(size_t n) {
  if (n > kOwnBlockBytes) {
    base::BlockRef block = base::make_block(n);
    char* at = reinterpret_cast<char*>(block->data);
    held_.push_back(std::move(block));
    return at;
  }
  if (!arena_ || arena_used_ + n > arena_->capacity) {
    if (arena_) held_.push_back(std::move(arena_));
    arena_ = base::make_block(kArenaBytes);
    arena_used_ = 0;
  }
  char* at = reinterpret_cast<char*>(arena_->data) + arena_used_;
  arena_used_ += static_cast<uint32_t>(n);
  return at;
}

}  // namespace millrace::http
