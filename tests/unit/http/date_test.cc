#include "http/date.h"

#include <gtest/gtest.h>

#include "http/codes.h"

namespace millrace::http {
namespace {

base::SystemTime at(int64_t unix_second, int64_t milliseconds = 0) {
  return base::SystemTime{std::chrono::seconds(unix_second) + std::chrono::milliseconds(milliseconds)};
}

TEST(Date, FormatsImfFixdate) {
  Date date;
  EXPECT_EQ(date.format(at(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(date.format(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(date.format(at(951782400)), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(date.format(at(4102444799, 999)), "Thu, 31 Dec 2099 23:59:59 GMT");
}

TEST(Date, ChangesOncePerSecond) {
  Date date;
  const std::string first(date.format(at(100, 1)));
  EXPECT_EQ(date.format(at(100, 999)), first);
  EXPECT_NE(date.format(at(101)), first);
}

TEST(Codes, NameWhatTheyKnow) {
  EXPECT_EQ(status_text(200), "OK");
  EXPECT_EQ(status_text(503), "Service Unavailable");
  EXPECT_EQ(status_text(299), "Unknown");
}

}  // namespace
}  // namespace millrace::http
