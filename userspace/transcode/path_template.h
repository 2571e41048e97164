// The path templates of google.api.http and which of many a request's path fits (google/api/http.proto, "Path template
// syntax"):
//   Template = "/" Segments [ Verb ]                Segments  = Segment { "/" Segment }
//   Segment  = "*" | "**" | LITERAL | Variable      Variable  = "{" FieldPath [ "=" Segments ] "}"
//   Verb     = ":" LITERAL                          FieldPath = IDENT { "." IDENT }
// Literals win over "*", which wins over "**". Immutable once built; any thread.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::transcode {

// How a variable of several segments is percent-decoded; one of a single segment is decoded whole.
enum class UrlUnescape : uint8_t { kAllButReserved, kAllButSlash, kAll };

// Percent-decodes; ill-formed escapes stay as they are.
std::string url_decoded(std::string_view text, UrlUnescape which = UrlUnescape::kAll, bool plus_is_space = false);

struct PathTemplate {
  struct Variable {
    std::string field;             // "a.b"
    size_t begin = 0, end = 0;     // segments [begin, end) of the template
    bool to_the_end = false;       // with "**": to the last segments of the path, less those after it in the template
    bool single = true;            // matches exactly one segment
  };
  std::vector<std::string> segments;  // literals, "*", "**"
  std::vector<Variable> variables;
  std::string verb;

  static base::Result<PathTemplate> parse(std::string_view text);
};

struct PathBinding {
  std::string_view field;  // lives as long as the table
  std::string value;
};

// Templates by HTTP method, each with an id of the caller's.
class PathTable {
 public:
  PathTable(UrlUnescape unescape, bool match_unregistered_verbs)
      : unescape_(unescape), match_unregistered_verbs_(match_unregistered_verbs) {}
  // An error: the template is there already for that method.
  base::Result<void> add(std::string_view method, PathTemplate path, uint32_t id);

  struct Found {
    uint32_t id = 0;
    std::vector<PathBinding> bindings;
  };
  // path: without query.
  std::optional<Found> find(std::string_view method, std::string_view path) const;

 private:
  struct Node {
    std::map<std::string, std::unique_ptr<Node>, std::less<>> children;  // literals, "*", "**"
    std::map<std::string, uint32_t, std::less<>> ends;                   // by verb: entry
  };
  struct Entry {
    PathTemplate path;
    uint32_t id;
  };
  const Entry* walk(const Node& node, const std::vector<std::string_view>& segments, size_t at,
                    std::string_view verb) const;

  const UrlUnescape unescape_;
  const bool match_unregistered_verbs_;
  std::map<std::string, Node, std::less<>> methods_;
  std::map<std::string, int, std::less<>> verbs_;
  std::vector<Entry> entries_;
};

}  // namespace millrace::transcode
