#include "http/date.h"

#include <chrono>
#include <cstring>

namespace millrace::http {
namespace {

void put_two(char* at, unsigned n) {
  at[0] = static_cast<char>('0' + n / 10);
  at[1] = static_cast<char>('0' + n % 10);
}

}  // namespace

std::string_view Date::format(base::SystemTime now) {
  const int64_t second = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  if (second != second_) {
    format_second(second);
    second_ = second;
  }
  return {text_.data(), text_.size()};
}

void Date::format_second(int64_t unix_second) {
  namespace chrono = std::chrono;
  const chrono::sys_seconds when{chrono::seconds(unix_second)};
  const chrono::sys_days day = chrono::floor<chrono::days>(when);
  const chrono::year_month_day date{day};
  const unsigned in_day = static_cast<unsigned>((when - day).count());
  const unsigned year = static_cast<unsigned>(static_cast<int>(date.year()));
  char* const text = text_.data();
  std::memcpy(text, "Sun, 06 Nov 1994 08:49:37 GMT", text_.size());  // every field is written over
  std::memcpy(text, &"SunMonTueWedThuFriSat"[chrono::weekday{day}.c_encoding() * 3], 3);
  put_two(text + 5, static_cast<unsigned>(date.day()));
  std::memcpy(text + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(static_cast<unsigned>(date.month()) - 1) * 3], 3);
  put_two(text + 12, year / 100);
  put_two(text + 14, year % 100);
  put_two(text + 17, in_day / 3600);
  put_two(text + 20, in_day / 60 % 60);
  put_two(text + 23, in_day % 60);
}

}  // namespace millrace::http
