// The connection manager with no filter but the test's own last one.
#pragma once
#include <gmock/gmock.h>

#include "unit/filter/hcm_fixture.h"
#include "unit/filter/test_filters.h"

namespace millrace::filter {

inline constexpr std::string_view kGet = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

class Http1ConnectionTest : public HcmTest {
 protected:
  void begin() {
    options.filters.push_back(std::make_unique<TerminalConfig>(app));
    start();
  }
  // Every request is answered with its body, or "ok".
  void answer_all() {
    app.on_whole = [](Terminal& t) { t.answer("200", t.body.empty() ? "ok" : std::string(t.body)); };
  }
  Terminal& wait_for_request() {
    turn_until([&] { return !app.live.empty(); });
    return *app.live.back();
  }
  App app;
};

}  // namespace millrace::filter
