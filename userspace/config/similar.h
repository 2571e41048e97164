// What was probably meant by a name that is not known. Pure functions.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::config {

// The number of edits (insert, delete, replace, swap neighbours) between the two, at most limit + 1. Neither
// the case of letters nor underscores count, so that camelCase and snake_case are one name.
size_t edit_distance(std::string_view a, std::string_view b, size_t limit);

// The candidate nearest to the word, the first of several; empty when none is near enough to be what was
// meant.
std::string closest_name(std::string_view word, const std::vector<std::string>& candidates);
// Likewise among full message names. A name whose last part is right (a v2 package, a slip before it) is
// preferred.
std::string closest_type(std::string_view full_name, const std::vector<std::string>& candidates);

}  // namespace millrace::config
