// "Did you mean": names close to a misspelt one. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::config {

// Edits (insert, delete, replace, swap of neighbours) that make b of a; letter case does not count. More than `limit` edits:
// limit + 1, found early.
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b, size_t limit);

// The names of `candidates` nearest to `word`, nearest first, then in order of appearance: at most `max_count`, and none that
// differs in more than about a third of its letters. '_' and camelCase spell the same name.
[[nodiscard]] std::vector<std::string> closest_names(std::string_view word, const std::vector<std::string>& candidates,
                                                     size_t max_count = 3);

}  // namespace millrace::config
