#include "stream/format_time.h"

#include <fmt/format.h>

#include <ctime>

namespace millrace::stream {
namespace {

// strftime's conversions but %n: the text may become a header value, which must not hold a line end.
constexpr std::string_view kConversions = "aAbBcCdDeFgGhHIjmMpPrRStTuUVwWxXyYzZ";

struct Moment {
  int64_t second = 0;
  uint32_t nanosecond = 0;
};

Moment split(base::SystemTime time) {
  const int64_t ns =
      std::chrono::duration_cast<base::nanoseconds>(time.time_since_epoch()).count();
  int64_t second = ns / 1'000'000'000;
  int64_t rest = ns % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --second;
  }
  return {second, static_cast<uint32_t>(rest)};
}

// gmtime_r() takes libc's time zone lock, which all workers would share; the calendar is a few divisions.
std::tm utc(int64_t second) {
  using std::chrono::days;
  const auto point = std::chrono::sys_seconds(base::seconds(second));
  const auto day = std::chrono::floor<days>(point);
  const std::chrono::year_month_day date(day);
  const auto in_day = (point - day).count();
  std::tm tm{};
  tm.tm_year = static_cast<int>(date.year()) - 1900;
  tm.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  tm.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  tm.tm_hour = static_cast<int>(in_day / 3600);
  tm.tm_min = static_cast<int>(in_day / 60 % 60);
  tm.tm_sec = static_cast<int>(in_day % 60);
  tm.tm_wday = static_cast<int>(std::chrono::weekday(day).c_encoding());
  const auto new_year = std::chrono::sys_days(date.year() / std::chrono::January / 1);
  tm.tm_yday = static_cast<int>((day - new_year).count());
  tm.tm_zone = "UTC";
  return tm;
}

const std::tm& broken_down(int64_t second, TimeZone zone) {
  struct Cache {
    int64_t second = INT64_MIN;
    std::tm tm{};
  };
  thread_local Cache caches[2];
  Cache& cache = caches[static_cast<size_t>(zone)];
  if (cache.second != second) {
    cache.second = second;
    const auto at = static_cast<std::time_t>(second);
    if (zone == TimeZone::kUtc) {
      cache.tm = utc(second);
    } else {
      ::localtime_r(&at, &cache.tm);
    }
  }
  return cache.tm;
}

void append_padded(uint32_t value, size_t digits, std::string& out) {
  char text[10];
  for (size_t i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out.append(text, digits);
}

void append_fraction(uint32_t nanosecond, uint8_t digits, std::string& out) {
  for (int i = digits; i < 9; ++i) nanosecond /= 10;
  append_padded(nanosecond, digits, out);
}

// All digits that are not trailing zeros, with the point; nothing for a whole second.
void append_shortest_fraction(uint32_t nanosecond, bool with_point, std::string& out) {
  if (nanosecond == 0) {
    if (!with_point) out += '0';
    return;
  }
  uint8_t digits = 9;
  for (; nanosecond % 10 == 0; nanosecond /= 10) --digits;
  if (with_point) out += '.';
  append_padded(nanosecond, digits, out);
}

void append_offset(const std::tm& tm, bool colon, std::string& out) {
  const long minutes = tm.tm_gmtoff / 60;
  const auto distance = static_cast<uint32_t>(minutes < 0 ? -minutes : minutes);
  out += minutes < 0 ? '-' : '+';
  append_padded(distance / 60, 2, out);
  if (colon) out += ':';
  append_padded(distance % 60, 2, out);
}

// The part of the ISO form that holds for a whole second is kept as text per thread and zone.
void append_iso(const Moment& moment, TimeZone zone, std::string& out) {
  struct Cache {
    int64_t second = INT64_MIN;
    std::string text;
  };
  thread_local Cache caches[2];
  Cache& cache = caches[static_cast<size_t>(zone)];
  const std::tm& tm = broken_down(moment.second, zone);
  if (cache.second != moment.second) {
    cache.second = moment.second;
    cache.text.clear();
    fmt::format_to(std::back_inserter(cache.text), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.",
                   tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  }
  out += cache.text;
  append_fraction(moment.nanosecond, 3, out);
  if (zone == TimeZone::kUtc) {
    out += 'Z';
  } else {
    append_offset(tm, false, out);
  }
}

base::Error bad_conversion(std::string_view conversion, std::string_view reason) {
  return {base::ErrorCode::kInvalidArgument, base::Side::kInternal, 0,
          fmt::format("time conversion \"{}\" {}", conversion, reason)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void TimeFormat::add(Kind kind, std::string_view text, uint8_t digits) {
  if (kind == Kind::kText && !pieces_.empty() && pieces_.back().kind == Kind::kText) {
    pieces_.back().text += text;
    return;
  }
  pieces_.push_back({kind, digits, std::string(text)});
}

// One conversion, format[at] being its '%'. Returns the position behind it.
base::Result<size_t> TimeFormat::compile_conversion(std::string_view format, size_t at) {
  size_t end = at + 1;
  const auto peek = [&] { return end < format.size() ? format[end] : '\0'; };
  const auto conversion = [&] { return format.substr(at, end + 1 - at); };
  if (peek() == '%') {
    add(Kind::kText, "%");
    return end + 1;
  }
  if (peek() == 's') {
    add(Kind::kSeconds, {});
    return end + 1;
  }
  if (peek() == 'f') {
    add(Kind::kFraction, {}, 9);
    return end + 1;
  }
  if (peek() >= '1' && peek() <= '9') {
    const auto digits = static_cast<uint8_t>(peek() - '0');
    ++end;
    if (peek() != 'f') return bad_conversion(conversion(), "takes no width; %1f to %9f are digits of a second");
    add(Kind::kFraction, {}, digits);
    return end + 1;
  }
  if (peek() == 'E' && end + 1 < format.size()) {
    const char next = format[end + 1];
    if (next == 'z') {
      end += 1;
      add(Kind::kOffset, {});
      return end + 1;
    }
    if (is_digit(next) || next == '*') {
      end += 2;
      const uint8_t digits = next == '*' ? 0 : static_cast<uint8_t>(next - '0');
      if (peek() != 'S' && peek() != 'f') return bad_conversion(conversion(), "is not known");
      if (peek() == 'S') add(Kind::kConversion, "%S");
      // %E0S has neither digits nor point.
      if (peek() == 'S' && digits != 0) add(Kind::kText, ".");
      if (digits != 0 || next == '*') add(Kind::kFraction, peek() == 'S' ? "." : "", digits);
      return end + 1;
    }
  }
  while (peek() == '-' || peek() == '_' || peek() == '0' || peek() == '^' || peek() == '#') ++end;
  if (peek() == 'E' || peek() == 'O') ++end;
  if (peek() == 'n') return bad_conversion(conversion(), "would put a line end into the text");
  if (peek() == '\0' || kConversions.find(peek()) == std::string_view::npos) {
    return bad_conversion(conversion(), "is not known");
  }
  add(Kind::kConversion, conversion());
  return end + 1;
}

base::Result<TimeFormat> TimeFormat::compile(std::string_view format, TimeZone zone) {
  TimeFormat result;
  result.zone_ = zone;
  if (format.empty()) {
    result.add(Kind::kIso, {});
    return result;
  }
  for (size_t at = 0; at < format.size();) {
    if (format[at] == '\n' || format[at] == '\r' || format[at] == '\0') {
      return bad_conversion(format.substr(0, at), "is followed by a line end or a NUL");
    }
    if (format[at] != '%') {
      const size_t end = std::min(format.find_first_of(std::string_view("%\n\r\0", 4), at), format.size());
      result.add(Kind::kText, format.substr(at, end - at));
      at = end;
      continue;
    }
    base::Result<size_t> end = result.compile_conversion(format, at);
    if (!end.ok()) return end.error();
    at = *end;
  }
  return result;
}

void TimeFormat::append(base::SystemTime time, std::string& out) const {
  const Moment moment = split(time);
  for (const Piece& piece : pieces_) {
    switch (piece.kind) {
      case Kind::kText:
        out += piece.text;
        break;
      case Kind::kConversion: {
        char text[128];
        out.append(text, std::strftime(text, sizeof text, piece.text.c_str(), &broken_down(moment.second, zone_)));
        break;
      }
      case Kind::kSeconds:
        fmt::format_to(std::back_inserter(out), "{}", moment.second);
        break;
      case Kind::kFraction:
        if (piece.digits != 0) {
          append_fraction(moment.nanosecond, piece.digits, out);
        } else {
          append_shortest_fraction(moment.nanosecond, !piece.text.empty(), out);
        }
        break;
      case Kind::kIso:
        append_iso(moment, zone_, out);
        break;
      case Kind::kOffset:
        append_offset(broken_down(moment.second, zone_), true, out);
        break;
    }
  }
}

}  // namespace millrace::stream
