#include "sim/http_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace millrace::sim {

std::string Plan::target() const {
  static constexpr const char* kPrefixes[] = {"plain", "retry", "short", "direct", "redirect", "nowhere", "nocluster"};
  return fmt::format("/{}/{}", kPrefixes[static_cast<size_t>(route)], id);
}

std::string Plan::describe() const {
  static constexpr const char* kAnswers[] = {"whole", "early", "fail first", "hang", "close before", "reset before",
                                             "close inside", "reset inside", "garbage"};
  static constexpr const char* kFramings[] = {"length", "chunked", "until close"};
  return fmt::format("{} {}: request of {} bytes{}{}; answer {}: {}, {} bytes, {}{}{}; seen by servers {} times",
                     method, target(), request_bytes, request_chunked ? ", chunked" : "",
                     expect_continue ? ", expects 100" : "",
                     kAnswers[static_cast<size_t>(answer)], status, response_bytes,
                     kFramings[static_cast<size_t>(framing)], says_close ? ", says close" : "",
                     closes_silently ? ", closes silently" : "", attempts);
}

bool Plans::some_close_silently() const {
  return std::any_of(all.begin(), all.end(), [](const auto& plan) { return plan->closes_silently; });
}

namespace {

void draw_request(Plan& plan, base::Prng& prng) {
  static constexpr const char* kMethods[] = {"GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"};
  plan.method = kMethods[prng.below(std::size(kMethods))];
  if (!plan.has_body()) return;
  plan.request_bytes = prng.below(prng.below(5) == 0 ? 200'000 : 2'000);
  plan.request_chunked = prng.below(2) == 0;
  plan.request_trailers = plan.request_chunked && prng.below(4) == 0;
  plan.expect_continue = prng.below(8) == 0;
}

void draw_response(Plan& plan, base::Prng& prng) {
  static constexpr int kStatuses[] = {200, 200, 200, 201, 404, 500, 204, 304};
  plan.status = kStatuses[prng.below(std::size(kStatuses))];
  plan.response_bytes = prng.below(prng.below(5) == 0 ? 200'000 : 2'000);
  plan.framing = static_cast<Plan::Framing>(prng.below(3));
  plan.response_trailers = plan.framing == Plan::Framing::kChunked && prng.below(4) == 0;
  plan.informational = prng.below(8) == 0;
  plan.says_close = plan.framing == Plan::Framing::kUntilClose || prng.below(8) == 0;
  plan.closes_silently = prng.below(10) == 0;
  plan.delay_us = static_cast<uint32_t>(prng.below(prng.below(3) == 0 ? 30'000 : 300));
  plan.pause_us = static_cast<uint32_t>(prng.below(2'000));
}

}  // namespace

Plan& Plans::add(base::Prng& prng, bool troubled) {
  all.push_back(std::make_unique<Plan>());
  Plan& plan = *all.back();
  plan.id = all.size();
  draw_request(plan, prng);
  draw_response(plan, prng);
  const uint64_t draw = prng.below(20);
  if (draw < 9) plan.route = Plan::Route::kPlain;
  else if (draw < 14) plan.route = Plan::Route::kRetry;
  else if (draw < 16) plan.route = Plan::Route::kShort;
  else plan.route = static_cast<Plan::Route>(prng.below(4) + static_cast<uint64_t>(Plan::Route::kDirect));
  if (plan.status == 500 && plan.route == Plan::Route::kRetry) plan.status = 200;  // or it would be retried
  if (prng.below(6) == 0) plan.answer = Plan::Answer::kFailFirst;
  if (!troubled) return plan;
  if (prng.below(4) == 0) plan.answer = static_cast<Plan::Answer>(prng.below(9));
  plan.client_aborts = prng.below(12) == 0;
  if (prng.below(20) == 0) plan.bad = static_cast<Plan::Bad>(1 + prng.below(3));
  return plan;
}

}  // namespace millrace::sim
