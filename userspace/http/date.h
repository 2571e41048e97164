// The Date header: IMF-fixdate of RFC 9110 section 5.6.7, formatted once a second. One per worker.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "base/clock.h"

namespace millrace::http {

class Date {
 public:
  // "Sun, 06 Nov 1994 08:49:37 GMT"; the view holds until the next call. From year 1 to 9999.
  std::string_view format(base::SystemTime now);

 private:
  void format_second(int64_t unix_second);

  int64_t second_ = INT64_MIN;
  std::array<char, 29> text_;
};

}  // namespace millrace::http
