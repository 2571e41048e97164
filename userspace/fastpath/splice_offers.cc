#include "fastpath/splice_offers.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>

#include "base/assert.h"
#include "fastpath/splice.h"
#include "fastpath/splice_status.h"
#include "skel/splice.skel.h"

namespace millrace::fastpath {

using base::Error;
using base::ErrorCode;
using base::Result;
using base::Side;

namespace {

// The array's cells lie at multiples of eight bytes, and the mapping is a whole number of pages.
size_t mapping_size() {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = sizeof(fp_splice_pair) * FP_SPLICE_PAIRS_MAX;
  return (size + page - 1) / page * page;
}
static_assert(sizeof(fp_splice_way) == 64 && sizeof(fp_splice_pair) % 8 == 0);

#define FP_SPLICE_ADMISSION_TEXT_(id, text) text,
constexpr const char* kAdmissions[] = {FP_SPLICE_ADMISSIONS(FP_SPLICE_ADMISSION_TEXT_)};

Error refusal(ErrorCode code, uint32_t answer) {
  const char* why = answer < FP_SPLICE_ADMISSION_COUNT ? kAdmissions[answer] : "an answer that is none";
  return Error{code, Side::kInternal, 0, std::string("not short-circuited: ") + why};
}

Error switched_off() {
  return Error{ErrorCode::kUnsupported, Side::kInternal, 0, "not short-circuited: a probe of this kernel failed"};
}

fp_splice_route route_to(uint64_t cookie, const fp_splice_sock& reader) {
  fp_splice_route route{};
  route.kind = FP_SPLICE_HOP;
  route.target = {reader.sk, cookie};
  route.psock = reader.psock;
  route.file = reader.file;
  route.pressure = reader.pressure;
  route.own_target = reader.own;
  return route;
}

size_t index_of(SpliceDirection direction) { return static_cast<size_t>(direction); }

}  // namespace

HopOffer::HopOffer(const SpliceOffers* offers, uint64_t own, uint64_t app) : offers_(offers), own_(own), app_(app) {
  offers->stats_.gauge_add(kSpliceHops);
}

HopOffer::HopOffer(HopOffer&& other) noexcept
    : offers_(std::exchange(other.offers_, nullptr)), own_(other.own_), app_(other.app_),
      dissolving_(other.dissolving_) {}

HopOffer& HopOffer::operator=(HopOffer&& other) noexcept {
  if (this == &other) return *this;
  withdraw();
  offers_ = std::exchange(other.offers_, nullptr);
  own_ = other.own_;
  app_ = other.app_;
  dissolving_ = other.dissolving_;
  return *this;
}

void HopOffer::withdraw() {
  if (offers_ == nullptr) return;
  offers_->unroute(own_);
  offers_->unroute(app_);
  offers_->stats_.gauge_sub(kSpliceHops);
  offers_ = nullptr;
}

bool HopOffer::dissolve() {
  if (offers_ == nullptr) return true;
  if (!std::exchange(dissolving_, true)) {
    offers_->unroute(own_);
    offers_->unroute(app_);
  }
  // Each as soon as it can: it is the sender's membership that costs.
  const bool own_left = offers_->leave(own_, app_, FP_SPLICE_NO_SEAT);
  const bool app_left = offers_->leave(app_, own_, FP_SPLICE_NO_SEAT);
  if (own_left && app_left) withdraw();
  return own_left && app_left;
}

JoinedPair::JoinedPair(JoinedPair&& other) noexcept { *this = std::move(other); }

JoinedPair& JoinedPair::operator=(JoinedPair&& other) noexcept {
  if (this == &other) return *this;
  withdraw();
  offers_ = std::exchange(other.offers_, nullptr);
  cell_ = other.cell_;
  std::copy(std::begin(other.apps_), std::end(other.apps_), apps_);
  return *this;
}

void JoinedPair::report(SpliceDirection direction, uint64_t handed_on_bytes) {
  // After the sends that it speaks of: on every machine that Linux knows a system call orders them before this store.
  offers_->cells_[cell_].ways[index_of(direction)].forwarded = handed_on_bytes;
}

JoinedPair::Traffic JoinedPair::traffic(SpliceDirection direction) const {
  const fp_splice_way& way = offers_->cells_[cell_].ways[index_of(direction)];
  return {way.redirected, way.messages};
}

bool JoinedPair::lost_at_close(SpliceDirection direction) const {
  return offers_->cells_[cell_].ways[index_of(direction)].lost_at_close != 0;
}

bool JoinedPair::put_back() const {
  const fp_splice_pair& pair = offers_->cells_[cell_];
  return pair.ways[0].on_tcp != 0 || pair.ways[1].on_tcp != 0;
}

// The routes stay as long as their senders are members: by them an app's close over unread bytes is noticed.
bool JoinedPair::dissolve() {
  if (offers_ == nullptr) return true;
  for (fp_splice_way& way : offers_->cells_[cell_].ways) __atomic_store_n(&way.on_tcp, 1, __ATOMIC_SEQ_CST);
  bool left = true;
  for (const size_t app : {0u, 1u}) {
    if (!offers_->leave(apps_[app], apps_[1 - app], FP_SPLICE_SEAT(cell_, app))) left = false;
  }
  return left;
}

// The routes stay with the apps' sockets, and are of a pair that is no more.
void JoinedPair::withdraw() {
  if (offers_ == nullptr) return;
  offers_->end_pair(cell_);
  offers_->stats_.gauge_sub(kSplicePairs);
  offers_->free_cells_.push_back(cell_);
  offers_ = nullptr;
}

Result<SpliceOffers> SpliceOffers::open(const Splice& splice, uint32_t index, uint32_t count,
                                        stats::StatShard stats) {
  MILLRACE_ASSERT(index < count);
  splice_bpf* skeleton = splice.object_->get();
  SpliceOffers out;
  out.pieces_ = splice.pieces_;
  out.rule_ = splice.rule_;
  out.join_rule_ = JoinRule(splice.rule_);
  out.stats_ = stats;
  out.socks_map_ = bpf_map__fd(skeleton->maps.splice_socks);
  out.admit_program_ = bpf_program__fd(skeleton->progs.splice_admit);
  out.cells_size_bytes_ = mapping_size();
  void* cells = mmap(nullptr, out.cells_size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED,
                     bpf_map__fd(skeleton->maps.splice_pairs), 0);
  if (cells == MAP_FAILED) return bpf_failure(errno, "mapping the array of joined pairs");
  out.cells_ = static_cast<fp_splice_pair*>(cells);
  const uint32_t share = FP_SPLICE_PAIRS_MAX / count;
  for (uint32_t cell = (index + 1) * share; cell > index * share; --cell) out.free_cells_.push_back(cell - 1);
  return out;
}

SpliceOffers::SpliceOffers(SpliceOffers&& other) noexcept
    : pieces_(other.pieces_),
      rule_(other.rule_),
      join_rule_(other.join_rule_),
      stats_(other.stats_),
      socks_map_(other.socks_map_),
      admit_program_(other.admit_program_),
      cells_(std::exchange(other.cells_, nullptr)),
      cells_size_bytes_(other.cells_size_bytes_),
      free_cells_(std::move(other.free_cells_)) {}

SpliceOffers::~SpliceOffers() {
  if (cells_ != nullptr) munmap(cells_, cells_size_bytes_);
}

bool SpliceOffers::Ends::v4() const { return own_record.tuple.family == AF_INET; }

Result<fp_splice_sock> SpliceOffers::record_of(uint64_t cookie) const {
  fp_splice_sock record{};
  if (bpf_map_lookup_elem(socks_map_, &cookie, &record) != 0) {
    return refusal(ErrorCode::kNotFound, FP_SPLICE_ADMISSION_UNKNOWN);
  }
  return record;
}

Result<SpliceOffers::Ends> SpliceOffers::ends_of(int fd) const {
  Ends ends;
  socklen_t size = sizeof ends.own;
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &ends.own, &size) != 0) {
    return Error::from_errno(errno, "asking for a socket's cookie");
  }
  Result<fp_splice_sock> record = record_of(ends.own);
  if (!record) return record.error();
  ends.own_record = *record;
  ends.app = record->peer;
  return ends;
}

Result<void> SpliceOffers::admit(uint64_t cookie, bool own, uint32_t seat, fp_splice_sock& record) const {
  fp_splice_ask member{};
  member.cookie = cookie;
  member.what = FP_SPLICE_ASK_MEMBER;
  member.own = own ? 1 : 0;
  member.seat = seat;
  if (Result<void> asked = ask(member); !asked) return asked.error();
  Result<fp_splice_sock> admitted = record_of(cookie);
  if (!admitted) return admitted.error();
  record = *admitted;
  return {};
}

Result<uint32_t> SpliceOffers::run(const fp_splice_ask& ask) const {
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &ask, .data_size_in = sizeof ask);
  if (bpf_prog_test_run_opts(admit_program_, &run) != 0) {
    return Error::from_errno(errno, "running the BPF program splice_admit");
  }
  return run.retval;
}

Result<void> SpliceOffers::ask(const fp_splice_ask& ask) const {
  Result<uint32_t> answer = run(ask);
  if (!answer) return answer.error();
  if (*answer == FP_SPLICE_ADMISSION_DONE) return {};
  if (*answer == FP_SPLICE_ADMISSION_NOT_ACCEPTED) return refusal(ErrorCode::kUnreachable, *answer);
  if (*answer == FP_SPLICE_ADMISSION_UNKNOWN) return refusal(ErrorCode::kNotFound, *answer);
  return refusal(ErrorCode::kUnsupported, *answer);
}

bool SpliceOffers::leave(uint64_t cookie, uint64_t sender, uint32_t seat) const {
  fp_splice_ask leaving{};
  leaving.cookie = cookie;
  leaving.what = FP_SPLICE_ASK_LEAVE;
  leaving.seat = seat;
  leaving.sender = sender;
  Result<uint32_t> answer = run(leaving);
  return answer.ok() && *answer == FP_SPLICE_ADMISSION_DONE;
}

Result<void> SpliceOffers::route(uint64_t from, const fp_splice_route& route) const {
  fp_splice_ask way{};
  way.cookie = from;
  way.what = FP_SPLICE_ASK_ROUTE;
  way.route = route;
  return ask(way);
}

void SpliceOffers::unroute(uint64_t from) const {
  (void)route(from, fp_splice_route{});  // a socket that is gone took it along
}

void SpliceOffers::end_pair(uint32_t at) {
  for (fp_splice_way& way : cells_[at].ways) way.generation = way.generation + 1;
}

// Empties a cell for a new pair. Its generation changed when the last one ended, and each store is a release.
uint32_t SpliceOffers::take_cell(uint32_t at) {
  for (fp_splice_way& way : cells_[at].ways) {
    __atomic_store_n(&way.forwarded, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.redirected, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.messages, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.queued, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.lost_at_close, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.on_tcp, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.seen_other, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.seen_redirected, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&way.path, FP_SPLICE_REASON_COUNT, __ATOMIC_RELEASE);
  }
  return cells_[at].ways[0].generation;
}

Result<HopOffer> SpliceOffers::offer_hop(int fd) const {
  Result<HopOffer> made = make_hop(fd);
  if (made.ok()) stats_.inc(kSpliceHopOffered);
  else if (made.error().code == ErrorCode::kUnreachable) stats_.inc(kSpliceHopNotYet);
  else if (made.error().code == ErrorCode::kNotFound) stats_.inc(kSpliceHopUnknown);
  else if (made.error().code == ErrorCode::kUnsupported) stats_.inc(kSpliceHopUnfit);
  else stats_.inc(kSpliceHopFailed);
  return made;
}

Result<HopOffer> SpliceOffers::make_hop(int fd) const {
  Result<Ends> found = ends_of(fd);
  if (!found) return found.error();
  Ends& ends = *found;
  if (!(ends.v4() ? pieces_.hop_v4 : pieces_.hop_v6)) return switched_off();
  for (const bool own : {false, true}) {
    Result<void> admitted =
        admit(own ? ends.own : ends.app, own, FP_SPLICE_NO_SEAT, own ? ends.own_record : ends.app_record);
    if (!admitted) return admitted.error();
  }
  HopOffer offer(this, ends.own, ends.app);
  fp_splice_route to_app = route_to(ends.app, ends.app_record);
  to_app.near = to_app.target;
  if (Result<void> routed = route(ends.own, to_app); !routed) return routed.error();
  fp_splice_route to_us = route_to(ends.own, ends.own_record);
  to_us.near = to_us.target;
  if (Result<void> routed = route(ends.app, to_us); !routed) return routed.error();
  return offer;
}

Result<JoinedPair> SpliceOffers::join(int downstream_fd, int upstream_fd, uint64_t from_downstream_bytes,
                                      uint64_t from_upstream_bytes) {
  Result<JoinedPair> made = make_pair(downstream_fd, upstream_fd, from_downstream_bytes, from_upstream_bytes);
  if (made.ok()) stats_.inc(kSpliceJoinOffered);
  else if (made.error().code == ErrorCode::kUnreachable) stats_.inc(kSpliceJoinNotYet);
  else if (made.error().code == ErrorCode::kNotFound) stats_.inc(kSpliceJoinUnknown);
  else if (made.error().code == ErrorCode::kUnsupported) stats_.inc(kSpliceJoinUnfit);
  else stats_.inc(kSpliceJoinFailed);
  return made;
}

void SpliceOffers::learn(bool paid) {
  join_rule_.learn(paid);
  stats_.inc(paid ? kSpliceJoinPaid : kSpliceJoinCost);
}

Result<JoinedPair> SpliceOffers::make_pair(int downstream_fd, int upstream_fd, uint64_t from_downstream_bytes,
                                           uint64_t from_upstream_bytes) {
  Result<Ends> down = ends_of(downstream_fd);
  if (!down) return down.error();
  Result<Ends> up = ends_of(upstream_fd);
  if (!up) return up.error();
  if (down->app == up->own || down->app == up->app) {
    return Error{ErrorCode::kInvalidArgument, Side::kInternal, 0, "the daemon is connected with itself"};
  }
  for (Ends* ends : {&*down, &*up}) {
    if (!(ends->v4() ? pieces_.joined_v4 : pieces_.joined_v6)) return switched_off();
  }
  if (free_cells_.empty()) {
    return Error{ErrorCode::kResourceExhausted, Side::kInternal, 0, "no cell is free for another joined pair"};
  }
  JoinedPair pair;
  pair.offers_ = this;
  stats_.gauge_add(kSplicePairs);
  pair.cell_ = free_cells_.back();
  free_cells_.pop_back();
  const uint32_t generation = take_cell(pair.cell_);
  for (Ends* ends : {&*down, &*up}) {
    const uint32_t seat = FP_SPLICE_SEAT(pair.cell_, ends == &*down ? 0 : 1);
    if (Result<void> admitted = admit(ends->app, false, seat, ends->app_record); !admitted) return admitted.error();
  }
  pair.apps_[0] = down->app;
  pair.apps_[1] = up->app;
  pair.report(SpliceDirection::kFromDownstream, from_downstream_bytes);
  pair.report(SpliceDirection::kFromUpstream, from_upstream_bytes);
  for (const bool from_downstream : {true, false}) {
    const Ends& sender = from_downstream ? *down : *up;
    const Ends& reader = from_downstream ? *up : *down;
    fp_splice_route way = route_to(reader.app, reader.app_record);
    way.kind = FP_SPLICE_JOINED;
    way.near = {sender.own_record.sk, sender.own};
    way.far_daemon = {reader.own_record.sk, reader.own};
    way.pair = pair.cell_;
    way.direction = from_downstream ? 0 : 1;
    way.generation = generation;
    if (Result<void> routed = route(sender.app, way); !routed) return routed.error();
  }
  return pair;
}

}  // namespace millrace::fastpath
