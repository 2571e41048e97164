// What a simulated client asks and what the server it reaches is to do with it; both sides know the plan, so
// each can tell every byte that is not its own.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"

namespace millrace::sim {

struct Plan {
  enum class Route : uint8_t {
    kPlain,      // no retries, no timeout
    kRetry,      // retries on what fails before the response
    kShort,      // a timeout of 300 ms
    kDirect,     // answered by the proxy itself
    kRedirect,
    kNoRoute,
    kNoCluster,
  };
  enum class Answer : uint8_t {
    kWhole,          // the response as it should be
    kEarly,          // ... before the request's body is read
    kFailFirst,      // 503 to the first attempt
    kHang,           // nothing
    kCloseBefore,    // no response: the connection closes
    kResetBefore,
    kCloseInside,    // the connection closes inside the response's body
    kResetInside,
    kGarbage,        // not HTTP
  };
  enum class Framing : uint8_t { kLength, kChunked, kUntilClose };
  enum class Bad : uint8_t { kNo, kHeaderLine, kTwoLengths, kHeadTooLarge };

  uint64_t id = 0;
  Route route = Route::kPlain;
  std::string method;
  uint64_t request_bytes = 0;
  bool request_chunked = false, request_trailers = false, expect_continue = false;
  Bad bad = Bad::kNo;
  bool client_aborts = false;

  Answer answer = Answer::kWhole;
  Framing framing = Framing::kLength;
  int status = 200;
  uint64_t response_bytes = 0;
  bool response_trailers = false, informational = false;
  bool says_close = false;        // Connection: close, and closes
  bool closes_silently = false;   // some time after the response, without a word
  uint32_t delay_us = 0, pause_us = 0;  // before the response, and between its pieces

  // What happened.
  uint32_t attempts = 0;          // that a server saw
  bool requeued = false;          // sent again by the client
  bool answered = false, local = false, cut = false, aborted = false;
  int seen_status = 0;

  bool idempotent() const { return method != "POST"; }
  bool has_body() const { return method == "POST" || method == "PUT"; }
  bool proxied() const { return route <= Route::kShort && bad == Bad::kNo; }
  // Nothing in it that may lead to anything but the whole response.
  bool benign() const {
    return proxied() && route != Route::kShort && !client_aborts &&
           (answer == Answer::kWhole || (answer == Answer::kFailFirst && route == Route::kRetry));
  }
  uint64_t body_due() const { return method == "HEAD" || status == 204 || status == 304 ? 0 : response_bytes; }
  std::string target() const;
  std::string describe() const;
};

inline constexpr uint64_t kRequestSide = 1ull << 40, kResponseSide = 1ull << 41;  // streams of pattern()
inline constexpr std::string_view kDirectBody = "answered by the proxy itself";

// Plans by id; the server's knowledge of the clients'.
struct Plans {
  std::vector<std::unique_ptr<Plan>> all;
  Plan& add(base::Prng& prng, bool troubled);
  Plan* find(uint64_t id) { return id >= 1 && id <= all.size() ? all[id - 1].get() : nullptr; }
  bool some_close_silently() const;
};

}  // namespace millrace::sim
