#include "config/diagnostics.h"

#include <algorithm>
#include <charconv>

namespace millrace::config {

namespace {

// One step of a path, cut off its front.
struct Step {
  enum class Kind { kField, kIndex, kKey, kEnd } kind = Kind::kEnd;
  std::string_view name;
  uint32_t index = 0;
};

Step next_step(std::string_view& path) {
  if (!path.empty() && path.front() == '.') path.remove_prefix(1);
  if (path.empty()) return {};
  if (path.front() != '[') {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    Step step{Step::Kind::kField, path.substr(0, end), 0};
    path.remove_prefix(end);
    return step;
  }
  if (path.starts_with("[\"")) {
    const size_t end = path.find("\"]", 2);
    if (end == std::string_view::npos) return {};
    Step step{Step::Kind::kKey, path.substr(2, end - 2), 0};
    path.remove_prefix(end + 2);
    return step;
  }
  Step step{Step::Kind::kIndex, {}, 0};
  const auto [end, error] = std::from_chars(path.data() + 1, path.data() + path.size(), step.index);
  if (error != std::errc{} || end == path.data() + path.size() || *end != ']') return {};
  path.remove_prefix(static_cast<size_t>(end - path.data()) + 1);
  return step;
}

}  // namespace

std::string Diagnostic::to_string() const {
  std::string out = file;
  if (line > 0) out += (out.empty() ? "" : ":") + std::to_string(line) + ":" + std::to_string(column);
  if (!out.empty()) out += ": ";
  if (severity == Severity::kWarning) out += "warning: ";
  if (!path.empty()) out += path + ": ";
  out += what;
  if (!hint.empty()) out += "; " + hint;
  return out;
}

void FieldPath::push_field(std::string_view name) {
  lengths_.push_back(static_cast<uint32_t>(text_.size()));
  if (!text_.empty()) text_ += '.';
  text_ += name;
}

void FieldPath::push_index(size_t index) {
  lengths_.push_back(static_cast<uint32_t>(text_.size()));
  text_ += '[';
  text_ += std::to_string(index);
  text_ += ']';
}

void FieldPath::push_key(std::string_view key) {
  lengths_.push_back(static_cast<uint32_t>(text_.size()));
  text_ += "[\"";
  text_ += key;
  text_ += "\"]";
}

void FieldPath::pop() {
  text_.resize(lengths_.back());
  lengths_.pop_back();
}

Positions::Id Positions::add(Id parent, Entry entry) {
  const Id id = static_cast<Id>(entries_.size());
  entries_.push_back(entry);
  Entry& above = entries_[parent];
  if (above.last_child == kNone) {
    above.first_child = id;
  } else {
    entries_[above.last_child].next = id;
  }
  above.last_child = id;
  return id;
}

Positions::Id Positions::add_field(Id parent, std::string_view name, Place place) {
  const Id known = child(parent, Kind::kField, name, 0);
  if (known != kNone) return known;
  Entry entry;
  entry.name = name;
  entry.place = place;
  return add(parent, entry);
}

Positions::Id Positions::add_index(Id parent, uint32_t index, Place place) {
  Entry entry;
  entry.kind = Kind::kIndex;
  entry.index = index;
  entry.place = place;
  return add(parent, entry);
}

Positions::Id Positions::add_key(Id parent, std::string_view key, Place place) {
  Entry entry;
  entry.kind = Kind::kKey;
  entry.name = keep(key);
  entry.place = place;
  return add(parent, entry);
}

std::string_view Positions::keep(std::string_view key) {
  return keys_.emplace_back(key);
}

Positions::Id Positions::child(Id parent, Kind kind, std::string_view name, uint32_t index) const {
  for (Id id = entries_[parent].first_child; id != kNone; id = entries_[id].next) {
    const Entry& entry = entries_[id];
    if (entry.kind == kind && (kind == Kind::kIndex ? entry.index == index : entry.name == name)) return id;
  }
  return kNone;
}

Positions::Walk Positions::walk(std::string_view path) const {
  Id at = kRoot;
  while (!path.empty()) {
    const Step step = next_step(path);
    Id found = kNone;
    switch (step.kind) {
      case Step::Kind::kField:
        found = child(at, Kind::kField, step.name, 0);
        break;
      case Step::Kind::kIndex:
        found = child(at, Kind::kIndex, {}, step.index);
        break;
      case Step::Kind::kKey:
        found = child(at, Kind::kKey, step.name, 0);
        break;
      case Step::Kind::kEnd:
        break;
    }
    if (found == kNone) return {at, false};
    at = found;
  }
  return {at, true};
}

Place Positions::find(std::string_view path) const {
  return entries_[walk(path).id].place;
}

bool Positions::has(std::string_view path) const {
  return walk(path).complete;
}

void Positions::merge(const Positions& other) {
  if (!entries_[kRoot].place.known()) entries_[kRoot].place = other.entries_[kRoot].place;
  merge_children(kRoot, other, kRoot);
}

void Positions::merge_children(Id to, const Positions& other, Id from) {
  uint32_t items = 0;
  for (Id id = entries_[to].first_child; id != kNone; id = entries_[id].next) {
    if (entries_[id].kind == Kind::kIndex) ++items;
  }
  for (Id id = other.entries_[from].first_child; id != kNone; id = other.entries_[id].next) {
    Entry theirs = other.entries_[id];
    theirs.first_child = theirs.last_child = theirs.next = kNone;
    Id ours = kNone;
    if (theirs.kind == Kind::kIndex) {
      theirs.index += items;
    } else {
      ours = child(to, theirs.kind, theirs.name, 0);
    }
    if (ours == kNone) {
      if (theirs.kind == Kind::kKey) theirs.name = keep(theirs.name);
      ours = add(to, theirs);
    } else if (theirs.whole || theirs.kind == Kind::kKey) {
      entries_[ours].place = theirs.place;
      entries_[ours].first_child = entries_[ours].last_child = kNone;
    }
    merge_children(ours, other, id);
  }
}

uint16_t Diagnostics::add_file(std::string name) {
  files_.push_back(std::move(name));
  return static_cast<uint16_t>(files_.size() - 1);
}

void Diagnostics::error(std::string_view path, std::string what, std::string hint) {
  add(Severity::kError, {}, path, std::move(what), std::move(hint));
}

void Diagnostics::warning(std::string_view path, std::string what, std::string hint) {
  add(Severity::kWarning, {}, path, std::move(what), std::move(hint));
}

void Diagnostics::error_at(Place place, std::string_view path, std::string what, std::string hint) {
  add(Severity::kError, place, path, std::move(what), std::move(hint));
}

void Diagnostics::warning_at(Place place, std::string_view path, std::string what, std::string hint) {
  add(Severity::kWarning, place, path, std::move(what), std::move(hint));
}

void Diagnostics::add(Severity severity, Place place, std::string_view path, std::string what,
                      std::string hint) {
  ++(severity == Severity::kError ? errors_ : warnings_);
  if (list_.size() >= kMost) return;
  if (!place.known()) place = positions_.find(path);
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  if (place.file < files_.size()) diagnostic.file = files_[place.file];
  diagnostic.line = static_cast<int>(place.line);
  diagnostic.column = place.column;
  diagnostic.path = path;
  diagnostic.what = std::move(what);
  diagnostic.hint = std::move(hint);
  list_.push_back(std::move(diagnostic));
  sorted_ = false;
}

bool Diagnostics::has_error_about(std::string_view path) const {
  const auto holds = [](std::string_view outer, std::string_view inner) {
    return !outer.empty() && inner.starts_with(outer) &&
           (inner.size() == outer.size() || inner[outer.size()] == '.' || inner[outer.size()] == '[');
  };
  return std::any_of(list_.begin(), list_.end(), [&](const Diagnostic& one) {
    return one.severity == Severity::kError && (holds(path, one.path) || holds(one.path, path));
  });
}

const std::vector<Diagnostic>& Diagnostics::list() const {
  if (!sorted_) {
    const auto order_of = [&](const std::string& file) {
      return std::find(files_.begin(), files_.end(), file) - files_.begin();
    };
    std::stable_sort(list_.begin(), list_.end(), [&](const Diagnostic& a, const Diagnostic& b) {
      if (a.file != b.file) return order_of(a.file) < order_of(b.file);
      return a.line != b.line ? a.line < b.line : a.column < b.column;
    });
    sorted_ = true;
  }
  return list_;
}

std::string Diagnostics::to_string() const {
  std::string out;
  for (const Diagnostic& diagnostic : list()) out += diagnostic.to_string() + "\n";
  const size_t beyond = errors_ + warnings_ - list_.size();
  if (beyond > 0) out += "and " + std::to_string(beyond) + " more\n";
  return out;
}

}  // namespace millrace::config
