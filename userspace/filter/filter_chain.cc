#include "filter/filter_chain.h"

#include <utility>

#include "filter/http_stream.h"

namespace millrace::filter {

FilterChain::FilterChain(HttpStream& stream, const std::vector<HcmFilter>& filters, WorkerContext& worker)
    : stream_(stream) {
  MILLRACE_ASSERT(filters.size() <= kHttpFiltersMax);
  for (const HcmFilter& filter : filters) {
    filters_.push_back(filter.config->instantiate(worker));
    filters_.back()->index_ = filters_.size() - 1;
  }
}

void FilterChain::clear(Side& side) {
  for (size_t p = 0; side.held != 0; ++p, side.held >>= 1) {
    if ((side.held & 1) != 0) side.holds[p] = Hold();
  }
  side.added.clear();
  side.trailers_added = false;
}

void FilterChain::reset() {
  clear(request_);
  clear(response_);
}

void FilterChain::begin(uint64_t skip) {
  skip_ = skip;
  for_each([&](HttpFilter& filter) { filter.begin(stream_); });
}

// The message goes no further: the stream is over, or a local reply has taken its place.
bool FilterChain::stopped(Way way) const {
  return stream_.over() || (way == Way::kRequest && stream_.local_reply());
}

HttpFilterStatus FilterChain::call_headers(Way way, size_t p, bool end) {
  HttpFilter& filter = at(way, p);
  if (way == Way::kRequest) return filter.on_request_headers(stream_.request_headers(), end);
  ++in_response_;
  const HttpFilterStatus status = filter.on_response_headers(stream_.response_headers(), end);
  --in_response_;
  return status;
}

HttpFilterStatus FilterChain::call_data(Way way, size_t p, base::Buffer& data, bool end) {
  HttpFilter& filter = at(way, p);
  if (way == Way::kRequest) return filter.on_request_data(data, end);
  ++in_response_;
  const HttpFilterStatus status = filter.on_response_data(data, end);
  --in_response_;
  return status;
}

HttpFilterStatus FilterChain::call_trailers(Way way, size_t p) {
  HttpFilter& filter = at(way, p);
  if (way == Way::kRequest) return filter.on_request_trailers(stream_.request_trailers());
  ++in_response_;
  const HttpFilterStatus status = filter.on_response_trailers(stream_.response_trailers());
  --in_response_;
  return status;
}

// ---- what waits

FilterChain::Hold& FilterChain::hold(Way way, size_t p, HttpFilterStatus status) {
  Side& s = side(way);
  if (s.holds.empty()) s.holds.resize(filters_.size());
  s.held |= uint64_t{1} << p;
  Hold& hold = s.holds[p];
  hold.collecting = status == HttpFilterStatus::kCollect;
  return hold;
}

FilterChain::Hold FilterChain::release(Way way, size_t p) {
  Side& s = side(way);
  s.held &= ~(uint64_t{1} << p);
  return std::exchange(s.holds[p], Hold());
}

// Last, when what the hold had is on its way: what then comes must not overtake it.
void FilterChain::unpause(Way way, const Hold& hold) {
  if (!hold.paused || stream_.over()) return;
  way == Way::kRequest ? stream_.resume_request() : stream_.resume_response();
}

void FilterChain::pause(Way way, Hold& hold) {
  if (hold.paused) return;
  hold.paused = true;
  way == Way::kRequest ? stream_.pause_request() : stream_.pause_response();
}

// After the hold's body has grown.
void FilterChain::limit(Way way, Hold& hold) {
  const size_t limit = stream_.buffer_limit_bytes();
  if (hold.body.size() <= limit) return;
  if (!hold.collecting) return pause(way, hold);
  way == Way::kRequest ? stream_.refuse_large_request() : stream_.refuse_large_response();
}

base::Buffer& FilterChain::collected(Way way, const HttpFilter& filter) {
  const size_t p = position(way, filter.index());
  MILLRACE_ASSERT(holds(way, p));
  return side(way).holds[p].body;
}

void FilterChain::add_body(Way way, base::Buffer& data) { side(way).added.move_from(data); }

void FilterChain::drop_response() {
  ++response_generation_;
  clear(response_);
}

// ---- passing on

void FilterChain::pass_headers(Way way, size_t from, bool end) {
  Side& s = side(way);
  const uint32_t generation = response_generation_;
  for (size_t p = from; p < filters_.size(); ++p) {
    if (skipped(way, p)) continue;
    const HttpFilterStatus status = call_headers(way, p, end);
    if (stopped(way) || generation != response_generation_ || terminal(way, p)) return;
    const bool trailers = std::exchange(s.trailers_added, false) && end;
    if (status != HttpFilterStatus::kContinue) {
      Hold& h = hold(way, p, status);
      h.head = true;
      h.end = h.end_seen = end && !trailers;
      h.trailers = h.trailers_seen = trailers;
      h.body.move_from(s.added);
      h.seen = h.body.size();
      // A request that is complete has nothing to read, but that the client goes away.
      if (!h.collecting && way == Way::kRequest && !stream_.request_ended()) pause(way, h);
      return;
    }
    if (s.added.empty() && !trailers) continue;
    base::Buffer body(std::move(s.added));
    pass_headers(way, p + 1, false);
    if (!body.empty() && !stopped(way)) pass_data(way, p + 1, body, end && !trailers);
    if (trailers && !stopped(way)) pass_trailers(way, p + 1);
    return;
  }
  stream_.send_headers(end);
}

bool FilterChain::keep_data(Way way, size_t p, HttpFilterStatus status, base::Buffer& data, bool end) {
  if (status == HttpFilterStatus::kContinue) return false;
  const bool begins = !holds(way, p);
  Hold& h = hold(way, p, status);
  h.body.move_from(data);
  h.body.move_from(side(way).added);
  h.end = h.end_seen = !std::exchange(side(way).trailers_added, false) && end;
  h.trailers = h.trailers_seen = end && !h.end;
  h.seen = h.body.size();
  if (!h.collecting && way == Way::kRequest && (begins || !h.paused) && !stream_.request_ended()) pause(way, h);
  limit(way, h);
  return true;
}

void FilterChain::pass_data(Way way, size_t from, base::Buffer& data, bool end) {
  Side& s = side(way);
  const uint32_t generation = response_generation_;
  const auto gone = [&] { return stopped(way) || generation != response_generation_; };
  size_t trailers_from = SIZE_MAX;
  bool arrives = true;
  for (size_t p = from; p < filters_.size() && arrives; ++p) {
    if (skipped(way, p)) continue;
    if (holds(way, p) && !s.holds[p].collecting) {
      Hold& h = s.holds[p];
      h.body.move_from(data);
      h.end = end;
      limit(way, h);
      arrives = false;
      break;
    }
    const HttpFilterStatus status = call_data(way, p, data, end);
    if (gone() || terminal(way, p)) return;
    if (keep_data(way, p, status, data, end)) {
      arrives = false;
      break;
    }
    data.move_from(s.added);
    if (std::exchange(s.trailers_added, false) && end) {
      end = false;
      trailers_from = p + 1;
    }
    if (holds(way, p)) {
      Hold h = release(way, p);
      h.body.move_from(data);
      data.move_from(h.body);
      if (h.head) pass_headers(way, p + 1, false);
      if (gone()) return;
    }
    arrives = !data.empty() || end;
  }
  if (arrives) stream_.send_data(data, end);
  if (trailers_from != SIZE_MAX && !gone()) pass_trailers(way, trailers_from);
}

void FilterChain::pass_trailers(Way way, size_t from) {
  Side& s = side(way);
  const uint32_t generation = response_generation_;
  const auto gone = [&] { return stopped(way) || generation != response_generation_; };
  for (size_t p = from; p < filters_.size(); ++p) {
    if (skipped(way, p)) continue;
    if (holds(way, p) && !s.holds[p].collecting) {
      s.holds[p].trailers = true;
      return;
    }
    const HttpFilterStatus status = call_trailers(way, p);
    if (gone() || terminal(way, p)) return;
    if (status != HttpFilterStatus::kContinue) {
      Hold& h = hold(way, p, HttpFilterStatus::kStop);
      h.trailers = h.trailers_seen = true;
      h.body.move_from(s.added);
      h.seen = h.body.size();
      return;
    }
    base::Buffer body;
    bool head = false;
    if (holds(way, p)) {
      Hold h = release(way, p);
      body.move_from(h.body);
      head = h.head;
    }
    body.move_from(s.added);
    if (head) pass_headers(way, p + 1, false);
    if (!body.empty() && !gone()) pass_data(way, p + 1, body, false);
    if (gone()) return;
  }
  stream_.send_trailers();
}

// Every filter sees every part of the message once: what the one that stopped has had goes on behind it, what came
// later begins with it.
void FilterChain::resume(Way way, const HttpFilter& filter) {
  const size_t p = position(way, filter.index());
  if (stream_.over() || !holds(way, p)) return;
  const uint32_t generation = response_generation_;
  const auto gone = [&] { return stopped(way) || generation != response_generation_; };
  Hold h = release(way, p);
  base::Buffer later(std::move(h.body)), seen;
  seen.move_from(later, h.seen);
  const bool nothing = later.empty() && seen.empty();
  if (h.head) {
    const bool whole = h.end && h.end_seen && nothing;
    pass_headers(way, p + 1, whole);
    if (whole) return unpause(way, h);
  }
  if (!seen.empty() || (h.end_seen && nothing)) {
    if (!gone()) pass_data(way, p + 1, seen, h.end_seen);
  }
  if (!later.empty() || (h.end && !h.end_seen)) {
    if (!gone()) pass_data(way, p, later, h.end);
  }
  if (h.trailers && !gone()) pass_trailers(way, h.trailers_seen ? p + 1 : p);
  unpause(way, h);
}

}  // namespace millrace::filter
