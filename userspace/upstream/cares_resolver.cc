#include "upstream/cares_resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"

namespace millrace::upstream {

namespace {

base::Result<void> init_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  if (status == ARES_SUCCESS) return {};
  return base::Error{base::ErrorCode::kUnsupported, base::Side::kInternal, 0, ares_strerror(status)};
}

// The family that is asked for first, and the one that is asked if that one has nothing.
int first_family(DnsFamily family) {
  switch (family) {
    case DnsFamily::kV4Only:
    case DnsFamily::kV4Preferred: return AF_INET;
    case DnsFamily::kV6Only:
    case DnsFamily::kAuto: return AF_INET6;
    case DnsFamily::kAll: break;
  }
  return AF_UNSPEC;
}

int second_family(DnsFamily family) {
  if (family == DnsFamily::kAuto) return AF_INET;
  return family == DnsFamily::kV4Preferred ? AF_INET6 : AF_UNSPEC;
}

// The least time to live of an answer's records (RFC 1035, 4.1); 0 if it cannot be read.
base::seconds least_ttl(const unsigned char* answer, int length) {
  if (length < HFIXEDSZ) return base::seconds(0);
  const auto number = [answer](int at) { return answer[at] << 8 | answer[at + 1]; };
  const auto skip_name = [answer, length](int& at) {
    char* name = nullptr;
    long used = 0;
    if (at >= length || ares_expand_name(answer + at, answer, length, &name, &used) != ARES_SUCCESS) return false;
    ares_free_string(name);
    at += static_cast<int>(used);
    return true;
  };
  int at = HFIXEDSZ;
  for (int left = number(4); left > 0; --left) {
    if (!skip_name(at)) return base::seconds(0);
    at += QFIXEDSZ;
  }
  uint32_t least = UINT32_MAX;
  for (int left = number(6); left > 0; --left) {
    if (!skip_name(at) || at + RRFIXEDSZ > length) return base::seconds(0);
    least = std::min(least, static_cast<uint32_t>(number(at + 4)) << 16 | static_cast<uint32_t>(number(at + 6)));
    at += RRFIXEDSZ + number(at + 8);
  }
  return base::seconds(least == UINT32_MAX ? 0 : least);
}

}  // namespace

const stats::Schema& cares_schema() {
  static constexpr stats::StatDescriptor kStats[] = {
      {"resolve_total", stats::Kind::kCounter},
      {"pending_resolutions", stats::Kind::kGaugeNeverImport},
      {"not_found", stats::Kind::kCounter},
      {"timeout", stats::Kind::kCounter},
      {"get_addr_failure", stats::Kind::kCounter},
  };
  static constexpr stats::Schema kSchema{"dns.cares", kStats};
  return kSchema;
}

// One of c-ares' sockets, polled while it wants to be; goes when c-ares has closed it and the kernel has let go of it.
class CaresResolver::Socket {
 public:
  Socket(CaresResolver& owner, int fd) : owner_(owner), fd_(fd) {}
  int fd() const { return closed_ ? -1 : fd_; }
  bool in_flight() const { return poll_.in_flight(); }

  void want(uint32_t events) {
    if (std::exchange(events_, events) == events && poll_.in_flight()) return;
    if (!poll_.in_flight()) return arm();
    owner_.loop_.backend().cancel(poll_);  // armed anew when that is over
  }
  // Whether it is over with.
  bool close() {
    closed_ = true;
    if (poll_.in_flight()) owner_.loop_.backend().cancel(poll_);
    return !poll_.in_flight() && !inside_;
  }

 private:
  void arm() {
    if (!inside_) owner_.loop_.backend().poll(poll_, fd_, events_);
  }
  void on_ready(const io::Completion& completion) {
    if (!closed_ && completion.result > 0) {
      const bool read = (completion.result & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool write = (completion.result & (POLLOUT | POLLERR)) != 0;
      inside_ = true;
      ares_process_fd(owner_.channel_, read ? fd_ : ARES_SOCKET_BAD, write ? fd_ : ARES_SOCKET_BAD);
      owner_.asked();
      inside_ = false;
    }
    if (closed_ || owner_.stopped_) return owner_.forget(*this);
    arm();
  }

  CaresResolver& owner_;
  const int fd_;
  uint32_t events_ = 0;
  bool closed_ = false;
  bool inside_ = false;  // c-ares is being called
  io::Op<&Socket::on_ready> poll_{*this};
};

// What the caller has of a question, and what c-ares has: whoever goes first leaves the other in peace.
struct CaresResolver::Question {
  CaresResolver* resolver;  // null: stopped
  std::string name;
  bool wanted = true;
};
struct CaresResolver::AddressQuestion : Question {
  DnsFamily family;
  bool second = false;  // the second family is asked for
  std::function<void(DnsAnswer)> done;
};
struct CaresResolver::ServiceQuestion : Question {
  std::function<void(DnsServices)> done;
};

base::Result<std::unique_ptr<CaresResolver>> CaresResolver::make(const CaresOptions& options, io::Loop& loop,
                                                                 stats::StatShard stats) {
  if (base::Result<void> ready = init_library(); !ready.ok()) return ready.error();
  std::unique_ptr<CaresResolver> made(new CaresResolver(options, loop, stats));
  if (base::Result<void> opened = made->open_channel(); !opened.ok()) return opened.error();
  return made;
}

CaresResolver::CaresResolver(CaresOptions options, io::Loop& loop, stats::StatShard stats)
    : options_(std::move(options)), loop_(loop), stats_(stats), timeout_(loop.timers(), *this) {}

CaresResolver::~CaresResolver() { stop(); }

base::Result<void> CaresResolver::open_channel() {
  ares_options options{};
  int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS |
             (options_.rotate_servers ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
  options.flags = (options_.use_tcp ? ARES_FLAG_USEVC : 0) | (options_.no_search_domain ? ARES_FLAG_NOSEARCH : 0);
  options.timeout = static_cast<int>(options_.query_timeout.count());
  options.tries = static_cast<int>(options_.query_tries);
  options.sock_state_cb = [](void* self, ares_socket_t fd, int read, int write) {
    static_cast<CaresResolver*>(self)->on_socket(fd, read != 0, write != 0);
  };
  options.sock_state_cb_data = this;
  int status = ares_init_options(&channel_, &options, mask);
  if (status == ARES_SUCCESS && !options_.servers.empty()) {
    bool use = !options_.servers_as_fallback;
    if (!use) {
      // c-ares asks 127.0.0.1 when it knows of no other.
      ares_addr_node* found = nullptr;
      use = ares_get_servers(channel_, &found) != ARES_SUCCESS || found == nullptr ||
            (found->next == nullptr && found->family == AF_INET && found->addr.addr4.s_addr == htonl(INADDR_LOOPBACK));
      if (found != nullptr) ares_free_data(found);
    }
    std::string list;
    for (const net::Address& server : options_.servers) list += (list.empty() ? "" : ",") + server.to_string();
    if (use) status = ares_set_servers_ports_csv(channel_, list.c_str());
  }
  if (status == ARES_SUCCESS) return {};
  return base::Error{base::ErrorCode::kUnsupported, base::Side::kInternal, 0,
                     fmt::format("the DNS resolver cannot be set up: {}", ares_strerror(status))};
}

void CaresResolver::stop() {
  stopped_ = true;
  timeout_.disarm();
  if (channel_ != nullptr) ares_destroy(std::exchange(channel_, nullptr));  // closes its sockets, ends all questions
}

void CaresResolver::on_socket(int fd, bool read, bool write) {
  const auto found = std::find_if(sockets_.begin(), sockets_.end(), [fd](const auto& s) { return s->fd() == fd; });
  if (!read && !write) {
    if (found != sockets_.end() && (*found)->close()) sockets_.erase(found);
    return;
  }
  const uint32_t events = (read ? uint32_t{POLLIN} : 0) | (write ? uint32_t{POLLOUT} : 0);
  if (found != sockets_.end()) return (*found)->want(events);
  sockets_.push_back(std::make_unique<Socket>(*this, fd));
  sockets_.back()->want(events);
}

void CaresResolver::forget(Socket& socket) {
  std::erase_if(sockets_, [&socket](const auto& one) { return one.get() == &socket; });
}

void CaresResolver::on_timeout() {
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  asked();
}

// Something was asked or answered.
void CaresResolver::asked() {
  if (stopped_) return;
  const int64_t shown = std::exchange(pending_shown_, static_cast<int64_t>(pending_));
  stats_.gauge_add(kDnsPendingResolutions, pending_shown_ - shown);
  if (pending_ == 0 && std::exchange(reopen_, false)) {
    ares_destroy(std::exchange(channel_, nullptr));
    if (base::Result<void> opened = open_channel(); !opened.ok()) {
      MILLRACE_LOG(kError, "upstream", "{}", opened.error().to_string());
    }
  }
  timeval wait{};
  if (channel_ == nullptr || ares_timeout(channel_, nullptr, &wait) == nullptr) return timeout_.disarm();
  timeout_.arm(base::milliseconds(wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1));
}

// Whether a status is a failure, as opposed to an answer with or without records; counted.
bool CaresResolver::failed(int status, const std::string& name, std::string& what) {
  switch (status) {
    case ARES_SUCCESS: return false;
    case ARES_ENODATA:
    case ARES_ENOTFOUND: stats_.inc(kDnsNotFound); return false;
    case ARES_ETIMEOUT: stats_.inc(kDnsTimeout); break;
    default: stats_.inc(kDnsGetAddrFailure); break;
  }
  // resolv.conf may name others by now.
  if (status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED) reopen_ = true;
  what = fmt::format("{}: {}", name, ares_strerror(status));
  return true;
}

// From the loop, not from within c-ares, nor from within who asks.
template <class Done>
void CaresResolver::deliver(Done done) {
  if (!stopped_) loop_.post(std::move(done));
}

namespace {

template <class Q>
class Handle final : public DnsResolver::Query {
 public:
  explicit Handle(std::shared_ptr<Q> question) : question_(std::move(question)) {}
  ~Handle() override { question_->wanted = false; }

 private:
  const std::shared_ptr<Q> question_;
};

}  // namespace

std::unique_ptr<DnsResolver::Query> CaresResolver::resolve(const std::string& name, DnsFamily family,
                                                           std::function<void(DnsAnswer)> done) {
  auto question = std::make_shared<AddressQuestion>();
  question->resolver = this;
  question->name = name;
  question->family = family;
  question->done = std::move(done);
  stats_.inc(kDnsResolveTotal);
  ask(question);
  asked();
  return std::make_unique<Handle<AddressQuestion>>(std::move(question));
}

void CaresResolver::ask(std::shared_ptr<AddressQuestion> question) {
  if (channel_ == nullptr) return;
  ares_addrinfo_hints hints{};
  hints.ai_flags = ARES_AI_NOSORT;
  hints.ai_family = question->second ? second_family(question->family) : first_family(question->family);
  hints.ai_socktype = SOCK_STREAM;
  ++pending_;
  const char* name = question->name.c_str();
  auto* held = new std::shared_ptr<AddressQuestion>(std::move(question));
  const auto on_answer = [](void* arg, int status, int, ares_addrinfo* found) {
    const std::unique_ptr<std::shared_ptr<AddressQuestion>> own(static_cast<std::shared_ptr<AddressQuestion>*>(arg));
    const std::shared_ptr<AddressQuestion> q = std::move(*own);
    CaresResolver& self = *q->resolver;
    --self.pending_;
    DnsAnswer answer;
    if (!self.stopped_ && !self.failed(status, q->name, answer.what)) {
      answer.status = DnsStatus::kAnswered;
      uint32_t ttl = UINT32_MAX;
      for (const ares_addrinfo_node* node = found != nullptr ? found->nodes : nullptr; node != nullptr;
           node = node->ai_next) {
        net::Address address = net::Address::from_sockaddr(node->ai_addr, node->ai_addrlen);
        address.set_port(0);
        answer.addresses.push_back(std::move(address));
        ttl = std::min(ttl, static_cast<uint32_t>(std::max(node->ai_ttl, 0)));
      }
      answer.ttl = base::seconds(ttl == UINT32_MAX ? 0 : ttl);
    }
    if (found != nullptr) ares_freeaddrinfo(found);
    if (self.stopped_ || !q->wanted) return;
    const bool other = !q->second && second_family(q->family) != AF_UNSPEC;
    if (answer.addresses.empty() && other) {
      q->second = true;
      return self.ask(q);
    }
    self.deliver([q, answer = std::move(answer)]() mutable {
      if (q->wanted) q->done(std::move(answer));
    });
  };
  ares_getaddrinfo(channel_, name, nullptr, &hints, on_answer, held);
}

std::unique_ptr<DnsResolver::Query> CaresResolver::resolve_services(const std::string& name,
                                                                    std::function<void(DnsServices)> done) {
  auto question = std::make_shared<ServiceQuestion>();
  question->resolver = this;
  question->name = name;
  question->done = std::move(done);
  stats_.inc(kDnsResolveTotal);
  if (channel_ != nullptr) {
    ++pending_;
    const auto on_answer = [](void* arg, int status, int, unsigned char* found, int length) {
      const std::unique_ptr<std::shared_ptr<ServiceQuestion>> own(static_cast<std::shared_ptr<ServiceQuestion>*>(arg));
      const std::shared_ptr<ServiceQuestion> q = std::move(*own);
      CaresResolver& self = *q->resolver;
      --self.pending_;
      DnsServices answer;
      ares_srv_reply* services = nullptr;
      if (status == ARES_SUCCESS) status = ares_parse_srv_reply(found, length, &services);
      if (!self.stopped_ && !self.failed(status, q->name, answer.what)) {
        answer.status = DnsStatus::kAnswered;
        for (const ares_srv_reply* one = services; one != nullptr; one = one->next) {
          answer.services.push_back({one->priority, one->weight, one->port, one->host});
        }
        if (services != nullptr) answer.ttl = least_ttl(found, length);
      }
      if (services != nullptr) ares_free_data(services);
      if (self.stopped_ || !q->wanted) return;
      self.deliver([q, answer = std::move(answer)]() mutable {
        if (q->wanted) q->done(std::move(answer));
      });
    };
    auto* held = new std::shared_ptr<ServiceQuestion>(question);
    ares_search(channel_, question->name.c_str(), ns_c_in, ns_t_srv, on_answer, held);
  }
  asked();
  return std::make_unique<Handle<ServiceQuestion>>(std::move(question));
}

}  // namespace millrace::upstream
