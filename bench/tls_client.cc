// The load of `./dev bench tls` where connections are what is counted: one thread, epoll, each connection one
// handshake, one request for 64 bytes, close_notify and the end. Handshakes are full ones, or resume the session of the
// place's last connection; one that is not of the kind that was asked for is an error. Certificates are not looked at.
//
//   bench_tls_client PORT 1.2|1.3 full|resumed CONCURRENT SECONDS   prints one line of JSON
//   bench_tls_client PORT 1.2|1.3 idle COUNT                        prints "ready" when COUNT connections have had an
//                                                                   answer, and keeps them until its input ends
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kRequest = "GET /64 HTTP/1.1\r\nHost: bench.example\r\n\r\n";
constexpr size_t kBodyBytes = 64;
constexpr size_t kConcurrentIdle = 16;  // while idle connections are made

enum class Mode { kFull, kResumed, kIdle };

// A place in the crowd: one connection after the other, and the session that the next one resumes.
struct Place {
  int fd = -1;
  bssl::UniquePtr<SSL> ssl;
  bssl::UniquePtr<SSL_SESSION> session;
  bool resumes = false;  // the first connection of a place has nothing to resume
  bool asked = false;
  std::string answer;
  Clock::time_point begun;
};

class Load {
 public:
  Load(uint16_t port, uint16_t version, Mode mode)
      : mode_(mode), epoll_(epoll_create1(0)), context_(SSL_CTX_new(TLS_with_buffers_method())) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    SSL_CTX_set_custom_verify(context_.get(), SSL_VERIFY_PEER, [](SSL*, uint8_t*) { return ssl_verify_ok; });
    if (mode != Mode::kResumed) return;
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) {
      static_cast<Place*>(SSL_get_app_data(ssl))->session.reset(session);
      return 1;
    });
  }

  void load(size_t concurrent, double seconds) {
    const Clock::time_point begun = Clock::now();
    fill(concurrent);
    while (std::chrono::duration<double>(Clock::now() - begun).count() < seconds) turn();
    const double lasted = std::chrono::duration<double>(Clock::now() - begun).count();
    std::sort(latencies_us_.begin(), latencies_us_.end());
    if (latencies_us_.empty()) latencies_us_.push_back(0);
    const size_t last = latencies_us_.size() - 1;
    std::printf("{\"requests\":%zu,\"errors\":%zu,\"duration_us\":%.0f,\"p50_us\":%u,\"p99_us\":%u}\n", done_, errors_,
                lasted * 1e6, latencies_us_[last / 2], latencies_us_[last * 99 / 100]);
  }

  // False: some could not be made.
  bool hold(size_t count) {
    left_to_begin_ = count;
    fill(std::min(count, kConcurrentIdle));
    while (done_ + errors_ < count) turn();
    return errors_ == 0;
  }

 private:
  void fill(size_t concurrent) {
    for (size_t i = 0; i < concurrent; ++i) begin(add_place());
  }
  Place& add_place() { return *places_.emplace_back(std::make_unique<Place>()); }

  void begin(Place& place) {
    if (mode_ == Mode::kIdle && left_to_begin_-- == 0) {
      left_to_begin_ = 0;
      return;
    }
    place.begun = Clock::now();
    place.asked = false;
    place.answer.clear();
    place.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int one = 1;
    setsockopt(place.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // Refused or not is for the handshake to find out.
    (void)connect(place.fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    place.ssl.reset(SSL_new(context_.get()));
    SSL_set_fd(place.ssl.get(), place.fd);
    SSL_set_app_data(place.ssl.get(), &place);
    SSL_set_connect_state(place.ssl.get());
    if (place.session) SSL_set_session(place.ssl.get(), place.session.get());
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &place;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, place.fd, &event);
  }

  void turn() {
    epoll_event events[256];
    const int count = epoll_wait(epoll_, events, 256, 100);
    for (int i = 0; i < count; ++i) advance(*static_cast<Place*>(events[i].data.ptr));
  }

  void advance(Place& place) {
    SSL* ssl = place.ssl.get();
    if (!place.asked) {
      const int result = SSL_do_handshake(ssl);
      if (result != 1) {
        if (!waits(ssl, result)) end(place, false);
        return;
      }
      place.asked = true;
      const int wanted = static_cast<int>(kRequest.size());
      if (SSL_write(ssl, kRequest.data(), wanted) != wanted) return end(place, false);
    }
    char data[4096];
    int got;
    while ((got = SSL_read(ssl, data, sizeof data)) > 0) place.answer.append(data, static_cast<size_t>(got));
    const size_t head = place.answer.find("\r\n\r\n");
    if (head != std::string::npos && place.answer.size() >= head + 4 + kBodyBytes) {
      const bool is_wanted = (SSL_session_reused(ssl) != 0) == place.resumes;
      return end(place, is_wanted && place.answer.starts_with("HTTP/1.1 200"));
    }
    if (!waits(ssl, got)) end(place, false);
  }

  static bool waits(SSL* ssl, int result) {
    const int error = SSL_get_error(ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  void end(Place& place, bool good) {
    ++(good ? done_ : errors_);
    if (good && mode_ == Mode::kIdle) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, place.fd, nullptr);
      return begin(add_place());
    }
    if (good) {
      const auto lasted = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - place.begun);
      latencies_us_.push_back(static_cast<uint32_t>(lasted.count()));
      SSL_shutdown(place.ssl.get());
    }
    place.ssl.reset();
    close(place.fd);
    place.resumes = mode_ == Mode::kResumed;
    begin(place);
  }

  const Mode mode_;
  const int epoll_;
  bssl::UniquePtr<SSL_CTX> context_;
  sockaddr_in address_{};
  std::vector<std::unique_ptr<Place>> places_;
  size_t left_to_begin_ = 0;
  size_t done_ = 0, errors_ = 0;
  std::vector<uint32_t> latencies_us_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view version = argc > 2 ? argv[2] : "", mode = argc > 3 ? argv[3] : "";
  const bool is_idle = mode == "idle";
  if (argc != (is_idle ? 5 : 6) || (version != "1.2" && version != "1.3") ||
      (!is_idle && mode != "full" && mode != "resumed")) {
    std::fprintf(stderr, "usage: bench_tls_client PORT 1.2|1.3 full|resumed CONCURRENT SECONDS\n"
                         "       bench_tls_client PORT 1.2|1.3 idle COUNT\n");
    return 2;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  Load load(static_cast<uint16_t>(std::atoi(argv[1])), version == "1.2" ? TLS1_2_VERSION : TLS1_3_VERSION,
            is_idle ? Mode::kIdle : mode == "full" ? Mode::kFull : Mode::kResumed);
  if (!is_idle) {
    load.load(std::strtoul(argv[4], nullptr, 10), std::strtod(argv[5], nullptr));
    return 0;
  }
  if (!load.hold(std::strtoul(argv[4], nullptr, 10))) return 1;
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
