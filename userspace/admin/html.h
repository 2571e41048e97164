// The little HTML that the admin pages for browsers need.
#pragma once
#include <string>
#include <string_view>

namespace millrace::admin {

std::string html_escaped(std::string_view text);
// Everything up to and with <body>.
std::string html_head(std::string_view title);

}  // namespace millrace::admin
