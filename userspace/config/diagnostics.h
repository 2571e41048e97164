// What is wrong with a configuration, all of it at once, each with its place in the file. A Positions tree
// remembers where every field of the loaded message was written; whoever finds fault later (the rules, the
// translation) names a field path and the Diagnostics find the place of its longest known prefix. Plain
// values, used on the main thread only.
//
// Paths:
// static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[1].domains[0];
// the content of a packed Any goes on under its own name, an entry of a map is
// metadata.filter_metadata["envoy.lb"].
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::config {

// A place in one of the files of a load; lines and columns count from 1, 0 is unknown.
struct Place {
  uint32_t line = 0;
  uint16_t column = 0;
  uint16_t file = 0;

  bool known() const { return line != 0; }
};

enum class Severity : uint8_t { kWarning, kError };

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string file;
  int line = 0;
  int column = 0;
  std::string path;  // of the field; empty when it is about the file
  std::string what;
  std::string hint;  // how to mend it; may be empty

  // file:line:column: path: what; hint
  std::string to_string() const;
};

// A field path under construction: push on the way down, pop on the way up.
class FieldPath {
 public:
  void push_field(std::string_view name);
  void push_index(size_t index);
  void push_key(std::string_view key);
  void pop();
  const std::string& text() const { return text_; }
  size_t depth() const { return lengths_.size(); }

 private:
  std::string text_;
  std::vector<uint32_t> lengths_;
};

// Where each field of a message was written: a tree with the shape of the message.
class Positions {
 public:
  using Id = uint32_t;
  static constexpr Id kRoot = 0;

  Positions() { entries_.emplace_back(); }

  // The name of a field must outlive this (a descriptor's does); keys are copied. A field given again keeps
  // its entry.
  Id add_field(Id parent, std::string_view name, Place place);
  Id add_index(Id parent, uint32_t index, Place place);
  Id add_key(Id parent, std::string_view key, Place place);
  // A later document that sets this entry takes its place whole instead of merging into it: scalars and Any.
  void set_whole(Id id) { entries_[id].whole = true; }
  void set_root(Place place) { entries_[kRoot].place = place; }

  // The place of the longest prefix of the path that was written somewhere.
  Place find(std::string_view path) const;
  // Whether the whole path was written.
  bool has(std::string_view path) const;
  // Follows protobuf's MergeFrom: lists are appended, messages merged, scalars and map entries taken from the
  // other.
  void merge(const Positions& other);
  size_t size() const { return entries_.size(); }

 private:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  enum class Kind : uint8_t { kField, kIndex, kKey };
  struct Entry {
    std::string_view name;  // of a field or a key
    uint32_t index = 0;     // of a list item
    uint32_t first_child = kNone;
    uint32_t last_child = kNone;
    uint32_t next = kNone;
    Place place;
    Kind kind = Kind::kField;
    bool whole = false;
  };
  struct Walk {
    Id id;
    bool complete;
  };

  Id add(Id parent, Entry entry);
  Id child(Id parent, Kind kind, std::string_view name, uint32_t index) const;
  Walk walk(std::string_view path) const;
  void merge_children(Id to, const Positions& other, Id from);
  std::string_view keep(std::string_view key);

  std::vector<Entry> entries_;
  std::deque<std::string> keys_;
};

// Collects what is wrong. Keeps kMost of them and counts the rest.
class Diagnostics {
 public:
  static constexpr size_t kMost = 500;

  // The id of a file, for Place::file. Its name appears in the diagnostics.
  uint16_t add_file(std::string name);

  // At a field path, with the place that the positions know for it.
  void error(std::string_view path, std::string what, std::string hint = {});
  void warning(std::string_view path, std::string what, std::string hint = {});
  // At a place. An unknown place is filled in from the path.
  void error_at(Place place, std::string_view path, std::string what, std::string hint = {});
  void warning_at(Place place, std::string_view path, std::string what, std::string hint = {});

  bool has_errors() const { return errors_ != 0; }
  // Whether an error was found at this field, in what it holds, or with what holds it.
  bool has_error_about(std::string_view path) const;
  size_t errors() const { return errors_; }
  size_t warnings() const { return warnings_; }
  // In the order of the files and their lines.
  const std::vector<Diagnostic>& list() const;
  // One line for each, and one that counts those beyond kMost.
  std::string to_string() const;

  Positions& positions() { return positions_; }
  const Positions& positions() const { return positions_; }

 private:
  void add(Severity severity, Place place, std::string_view path, std::string what, std::string hint);

  std::vector<std::string> files_;
  Positions positions_;
  mutable std::vector<Diagnostic> list_;
  mutable bool sorted_ = true;
  size_t errors_ = 0;
  size_t warnings_ = 0;
};

}  // namespace millrace::config
