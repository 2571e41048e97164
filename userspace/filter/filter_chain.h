// The filters of one stream, and what waits at them: both directions by the same rules (http_filter.h). Positions count
// along the way of a message: a request meets filter 0 first, a response the last one. Owned by its HttpStream, reused
// with it; memory for held messages is made when a filter first holds one.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "filter/hcm_options.h"
#include "filter/http_filter.h"

namespace millrace::filter {

enum class Way : uint8_t { kRequest, kResponse };

class FilterChain {
 public:
  FilterChain(HttpStream& stream, const std::vector<HcmFilter>& filters, WorkerContext& worker);

  // Forgets the stream before this one.
  void reset();
  // skip: bit i, filter i is no part of this stream.
  void begin(uint64_t skip);
  // Calls f(HttpFilter&) for all that take part, first to last.
  template <class F>
  void for_each(F&& f) {
    for (size_t i = 0; i < filters_.size(); ++i) {
      if ((skip_ >> i & 1) == 0) f(*filters_[i]);
    }
  }

  // A message from its beginning.
  void pass_headers(Way way, bool end) { pass_headers(way, first(way), end); }
  void pass_data(Way way, base::Buffer& data, bool end) { pass_data(way, first(way), data, end); }
  void pass_trailers(Way way) { pass_trailers(way, first(way)); }
  // What waits at this filter goes on behind it; nothing waits: nothing happens.
  void resume(Way way, const HttpFilter& filter);
  // An answer takes the place of the response that is held somewhere.
  void drop_response();
  // Some filter is being called with a part of the response.
  bool in_response() const { return in_response_ > 0; }

  base::Buffer& collected(Way way, const HttpFilter& filter);
  void add_body(Way way, base::Buffer& data);
  void add_trailers(Way way) { side(way).trailers_added = true; }

 private:
  struct Hold {
    base::Buffer body;       // the first seen bytes the filter has had already
    size_t seen = 0;
    bool collecting = false;
    bool head = false;       // the head waits here too
    bool end = false;        // the body is complete and no trailers follow
    bool end_seen = false;
    bool trailers = false, trailers_seen = false;
    bool paused = false;     // we asked the other side to send no more
  };
  struct Side {
    std::vector<Hold> holds;  // by position; empty until a filter holds for the first time
    uint64_t held = 0;        // bit p: something waits at position p
    base::Buffer added;       // by the filter that is being called
    bool trailers_added = false;
  };

  Side& side(Way way) { return way == Way::kRequest ? request_ : response_; }
  size_t position(Way way, size_t index) const { return way == Way::kRequest ? index : filters_.size() - 1 - index; }
  HttpFilter& at(Way way, size_t position) { return *filters_[this->position(way, position)]; }
  // Responses come from the router.
  static size_t first(Way way) { return way == Way::kRequest ? 0 : 1; }
  bool skipped(Way way, size_t p) const { return (skip_ >> position(way, p) & 1) != 0; }
  // The router, which ends every request.
  bool terminal(Way way, size_t p) const { return way == Way::kRequest && p + 1 == filters_.size(); }
  bool holds(Way way, size_t p) { return (side(way).held >> p & 1) != 0; }
  bool stopped(Way way) const;

  void pass_headers(Way way, size_t from, bool end);
  void pass_data(Way way, size_t from, base::Buffer& data, bool end);
  void pass_trailers(Way way, size_t from);
  HttpFilterStatus call_headers(Way way, size_t p, bool end);
  HttpFilterStatus call_data(Way way, size_t p, base::Buffer& data, bool end);
  HttpFilterStatus call_trailers(Way way, size_t p);
  // Whether the data stays at p, after the filter there saw it.
  bool keep_data(Way way, size_t p, HttpFilterStatus status, base::Buffer& data, bool end);
  Hold& hold(Way way, size_t p, HttpFilterStatus status);
  Hold release(Way way, size_t p);
  void pause(Way way, Hold& hold);
  void unpause(Way way, const Hold& hold);
  void limit(Way way, Hold& hold);
  static void clear(Side& side);

  HttpStream& stream_;
  std::vector<std::unique_ptr<HttpFilter>> filters_;
  uint64_t skip_ = 0;
  Side request_, response_;
  uint32_t in_response_ = 0;
  uint32_t response_generation_ = 0;  // drop_response() ends what is being passed
};

}  // namespace millrace::filter
