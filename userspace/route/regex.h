// A compiled RE2 expression, without RE2 in the header. Immutable, used by all workers at once: matching takes no lock
// that is contended once its automaton is warm, and allocates nothing of ours.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace millrace::route {

class Regex {
 public:
  // The error says what is wrong and at which byte of the pattern.
  static base::Result<Regex> compile(std::string_view pattern);

  bool matches_whole(std::string_view text) const;
  // Appends text to `out` with every match replaced. \0 to \9 in the substitution are groups, \\ is a backslash.
  // False, and nothing appended, when nothing matches.
  bool replace_all(std::string_view text, std::string_view substitution, std::string& out) const;
  // Whether a substitution asks only for groups that the pattern has.
  base::Result<void> check_substitution(std::string_view substitution) const;
  // Bytes with which every text that matches as a whole begins; empty when there are none, or when case is ignored.
  const std::string& required_prefix() const { return required_prefix_; }

 private:
  struct Delete {
    void operator()(const re2::RE2* regex) const;
  };
  Regex() = default;
  std::unique_ptr<const re2::RE2, Delete> regex_;
  std::string required_prefix_;
};

}  // namespace millrace::route
