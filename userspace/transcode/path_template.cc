#include "transcode/path_template.h"

#include <fmt/format.h>

#include "base/hex.h"

namespace millrace::transcode {
namespace {

// RFC 6570 section 1.5.
bool is_reserved(char c) {
  return c != '\0' && std::string_view(":/?#[]@!$&'()*+,;=").find(c) != std::string_view::npos;
}

bool is_identifier(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
         std::string_view::npos;
}

bool is_field_path(std::string_view text) {
  while (true) {
    const size_t dot = text.find('.');
    if (!is_identifier(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

class TemplateParser {
 public:
  explicit TemplateParser(std::string_view text) : whole_(text), left_(text) {}

  base::Result<PathTemplate> run() {
    if (!take('/')) return wrong("must begin with '/'");
    if (!segments(false)) return wrong(why_);
    if (take(':')) {
      out_.verb = std::string(left_);
      if (out_.verb.empty() || out_.verb.find_first_of("/{}*:") != std::string::npos) return wrong("has no valid verb");
      left_ = {};
    }
    if (!left_.empty()) return wrong(fmt::format("has '{}' where nothing may follow", left_));
    return std::move(out_);
  }

 private:
  base::Error wrong(std::string_view why) const {
    return base::Error{base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0,
                       fmt::format("path template '{}' {}", whole_, why)};
  }
  bool fail(std::string_view why) {
    why_ = why;
    return false;
  }
  bool take(char c) {
    if (!left_.starts_with(c)) return false;
    left_.remove_prefix(1);
    return true;
  }

  bool segments(bool in_variable) {
    do {
      if (!segment(in_variable)) return false;
    } while (take('/'));
    return true;
  }

  bool segment(bool in_variable) {
    if (left_.starts_with('{')) return in_variable ? fail("has a variable within a variable") : variable();
    const size_t end = std::min(left_.find_first_of("/{}:"), left_.size());
    const std::string_view text = left_.substr(0, end);
    if (text.empty()) return fail("has an empty segment");
    if (text.find('*') != std::string_view::npos && text != "*" && text != "**") {
      return fail("has a '*' within a segment");
    }
    if (deep_ && text == "**") return fail("has two '**'");
    deep_ |= text == "**";
    left_.remove_prefix(end);
    out_.segments.emplace_back(text);
    return true;
  }

  bool variable() {
    take('{');
    const size_t end = left_.find_first_of("=}");
    if (end == std::string_view::npos) return fail("has a variable without an end");
    PathTemplate::Variable v;
    v.field = std::string(left_.substr(0, end));
    if (!is_field_path(v.field)) return fail(fmt::format("has the variable '{}', which is no field", v.field));
    left_.remove_prefix(end);
    v.begin = out_.segments.size();
    const bool deep_before = deep_;
    if (take('=')) {
      if (!segments(true)) return false;
    } else {
      out_.segments.emplace_back("*");
    }
    if (!take('}')) return fail("has a variable without an end");
    v.end = out_.segments.size();
    v.to_the_end = deep_ && !deep_before;
    v.single = v.end - v.begin == 1 && !v.to_the_end;
    for (const PathTemplate::Variable& other : out_.variables) {
      if (other.field == v.field) return fail(fmt::format("has the variable '{}' twice", v.field));
    }
    out_.variables.push_back(std::move(v));
    return true;
  }

  const std::string_view whole_;
  std::string_view left_;
  std::string why_;
  PathTemplate out_;
  bool deep_ = false;  // there was a "**"
};

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  while (true) {
    const size_t slash = path.find('/');
    out.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string url_decoded(std::string_view text, UrlUnescape which, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
      continue;
    }
    const bool may_be_escape = text[i] == '%' && i + 2 < text.size();
    const int high = may_be_escape ? base::hex_digit(text[i + 1]) : -1;
    const int low = may_be_escape ? base::hex_digit(text[i + 2]) : -1;
    if (high >= 0 && low >= 0) {
      const char c = static_cast<char>(high << 4 | low);
      const bool keep = which == UrlUnescape::kAllButReserved ? is_reserved(c)
                                                              : which == UrlUnescape::kAllButSlash && c == '/';
      if (!keep) {
        out += c;
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

base::Result<PathTemplate> PathTemplate::parse(std::string_view text) { return TemplateParser(text).run(); }

base::Result<void> PathTable::add(std::string_view method, PathTemplate path, uint32_t id) {
  Node* node = &methods_[std::string(method)];
  for (const std::string& segment : path.segments) {
    std::unique_ptr<Node>& child = node->children[segment];
    if (child == nullptr) child = std::make_unique<Node>();
    node = child.get();
  }
  if (!node->ends.emplace(path.verb, static_cast<uint32_t>(entries_.size())).second) {
    return base::Error{base::ErrorCode::kAlreadyExists, base::Side::kInternal, 0,
                       fmt::format("two methods are bound to the same {} path", method)};
  }
  if (!path.verb.empty()) ++verbs_[path.verb];
  entries_.push_back({std::move(path), id});
  return {};
}

const PathTable::Entry* PathTable::walk(const Node& node, const std::vector<std::string_view>& segments, size_t at,
                                        std::string_view verb) const {
  if (at == segments.size()) {
    const auto end = node.ends.find(verb);
    if (end != node.ends.end()) return &entries_[end->second];
  } else {
    if (const auto child = node.children.find(segments[at]);
        child != node.children.end() && child->first != "*" && child->first != "**") {
      if (const Entry* found = walk(*child->second, segments, at + 1, verb)) return found;
    }
    if (const auto child = node.children.find(std::string_view("*"));
        child != node.children.end() && !segments[at].empty()) {
      if (const Entry* found = walk(*child->second, segments, at + 1, verb)) return found;
    }
  }
  if (const auto child = node.children.find(std::string_view("**")); child != node.children.end()) {
    // As much as it can, so the longest first; at most one "**" stands in a template.
    for (size_t next = segments.size() + 1; next-- > at;) {
      if (const Entry* found = walk(*child->second, segments, next, verb)) return found;
    }
  }
  return nullptr;
}

std::optional<PathTable::Found> PathTable::find(std::string_view method, std::string_view path) const {
  const auto root = methods_.find(method);
  if (root == methods_.end() || !path.starts_with('/')) return std::nullopt;
  path.remove_prefix(1);
  std::string_view verb;
  const size_t colon = path.rfind(':');
  if (colon != std::string_view::npos && path.find('/', colon) == std::string_view::npos &&
      (match_unregistered_verbs_ || verbs_.contains(path.substr(colon + 1)))) {
    verb = path.substr(colon + 1);
    path = path.substr(0, colon);
  }
  const std::vector<std::string_view> segments = split(path);
  const Entry* entry = walk(root->second, segments, 0, verb);
  if (entry == nullptr) return std::nullopt;
  Found found;
  found.id = entry->id;
  // What "**" took beyond the one segment that stands for it in the template.
  const auto extra = static_cast<ptrdiff_t>(segments.size()) - static_cast<ptrdiff_t>(entry->path.segments.size());
  bool deep_passed = false;
  for (const PathTemplate::Variable& v : entry->path.variables) {
    for (size_t i = 0; i < v.begin; ++i) deep_passed |= entry->path.segments[i] == "**";
    const size_t begin = static_cast<size_t>(static_cast<ptrdiff_t>(v.begin) + (deep_passed ? extra : 0));
    const size_t end = static_cast<size_t>(static_cast<ptrdiff_t>(v.end) + (deep_passed || v.to_the_end ? extra : 0));
    PathBinding& binding = found.bindings.emplace_back();
    binding.field = v.field;
    for (size_t i = begin; i < end; ++i) {
      if (i > begin) binding.value += '/';
      binding.value += url_decoded(segments[i], v.single ? UrlUnescape::kAll : unescape_);
    }
  }
  return found;
}

}  // namespace millrace::transcode
