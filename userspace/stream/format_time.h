// Points of time as text, for START_TIME and its like: strftime conversions, %s (seconds since 1970), %f and %1f to
// %9f (digits of the fraction), and %E3S, %E*S, %E3f, %Ez as Envoy's library has them. Compiled once; append()
// keeps the broken-down second of the thread's last call, so that a busy worker converts once a second, and takes
// no lock for UTC.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace millrace::stream {

enum class TimeZone : uint8_t { kUtc, kLocal };

class TimeFormat {
 public:
  TimeFormat() = default;
  // An empty format is ISO 8601 with milliseconds: 2016-04-15T20:17:00.310Z.
  static base::Result<TimeFormat> compile(std::string_view format, TimeZone zone = TimeZone::kUtc);
  void append(base::SystemTime time, std::string& out) const;

 private:
  enum class Kind : uint8_t { kText, kConversion, kSeconds, kFraction, kIso, kOffset };
  struct Piece {
    Kind kind = Kind::kText;
    uint8_t digits = 0;  // of a fraction; 0: as many as it takes
    std::string text;    // literal, or one strftime conversion
  };
  base::Result<size_t> compile_conversion(std::string_view format, size_t at);
  void add(Kind kind, std::string_view text, uint8_t digits = 0);

  std::vector<Piece> pieces_;
  TimeZone zone_ = TimeZone::kUtc;
};

}  // namespace millrace::stream
