// The load of `./dev bench tls`: one thread, epoll, BoringSSL, and as little as possible of everything, so that the
// proxy is what is measured. A place is one connection after the other (handshake, one request, close_notify and the
// end), or, with "keepalive", one connection and one request after the other. Handshakes are full ones, or resume the
// session of the place's last connection; one of another kind is an error, and so is a cipher other than AES-128-GCM.
// Certificates are not looked at.
//
//   bench_tls_client PORT 1.2|1.3 full|resumed|keepalive CONCURRENT SECONDS BYTES   prints one line of JSON
//   bench_tls_client PORT 1.2|1.3 idle COUNT    prints "ready" when COUNT connections have had an answer of 64 bytes,
//                                               and keeps them until its input ends
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kConcurrentIdle = 16;  // while idle connections are made
constexpr size_t kReadBytes = 32 * 1024;

enum class Mode { kFull, kResumed, kKeepAlive, kIdle };

// A socket that is read in large pieces: OpenSSL's own BIOs read each record in two.
struct Socket {
  int fd = -1;
  bool drained = false;  // the last read emptied it; epoll says when there is more
  size_t begin = 0, end = 0;
  std::unique_ptr<char[]> bytes;

  static int read(BIO* bio, char* out, int size) {
    Socket& self = *static_cast<Socket*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (self.begin == self.end) {
      const ssize_t got = self.drained ? -1 : recv(self.fd, self.bytes.get(), kReadBytes, 0);
      if (got == 0) return 0;
      if (got < 0) {
        if (self.drained || errno == EAGAIN) BIO_set_retry_read(bio);
        return -1;
      }
      self.begin = 0;
      self.end = static_cast<size_t>(got);
      self.drained = self.end < kReadBytes;
    }
    const size_t part = std::min(static_cast<size_t>(size), self.end - self.begin);
    std::memcpy(out, self.bytes.get() + self.begin, part);
    self.begin += part;
    return static_cast<int>(part);
  }
  // What is sent is small: there is always room for it.
  static int write(BIO* bio, const char* bytes, int size) {
    return static_cast<int>(send(static_cast<Socket*>(BIO_get_data(bio))->fd, bytes, static_cast<size_t>(size),
                                 MSG_NOSIGNAL));
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
      BIO_meth_set_read(method, read);
      BIO_meth_set_write(method, write);
      BIO_meth_set_ctrl(method, control);
      return method;
    }();
    return made;
  }
};

struct Place {
  Socket socket;
  bssl::UniquePtr<SSL> ssl;
  bssl::UniquePtr<SSL_SESSION> session;
  bool resumes = false;  // the first connection of a place has nothing to resume
  bool asked = false;
  bool in_body = false;
  size_t body_bytes = 0;
  std::string head;
  Clock::time_point begun;
};

class Load {
 public:
  Load(uint16_t port, uint16_t version, Mode mode, size_t body_bytes)
      : mode_(mode), body_bytes_(body_bytes), epoll_(epoll_create1(0)),
        request_("GET /" + std::to_string(body_bytes) + " HTTP/1.1\r\nHost: bench.example\r\n\r\n"),
        context_(SSL_CTX_new(TLS_with_buffers_method())) {
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
    std::printf("{\"requests\":%zu,\"errors\":%zu,\"bytes\":%zu,\"duration_us\":%.0f,\"p50_us\":%u,\"p99_us\":%u}\n",
                done_, errors_, done_ * body_bytes_, lasted * 1e6, latencies_us_[last / 2],
                latencies_us_[last * 99 / 100]);
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
    if (mode_ == Mode::kIdle && left_to_begin_ == 0) return;
    if (mode_ == Mode::kIdle) --left_to_begin_;
    place.begun = Clock::now();
    place.asked = false;
    Socket& socket = place.socket;
    if (socket.bytes == nullptr) socket.bytes.reset(new char[kReadBytes]);
    socket.begin = socket.end = 0;
    socket.drained = true;
    socket.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int one = 1;
    setsockopt(socket.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // Refused or not is for the handshake to find out.
    (void)connect(socket.fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    BIO* bio = BIO_new(Socket::method());
    BIO_set_data(bio, &socket);
    BIO_set_init(bio, 1);
    place.ssl.reset(SSL_new(context_.get()));
    SSL_set_bio(place.ssl.get(), bio, bio);
    SSL_set_app_data(place.ssl.get(), &place);
    SSL_set_connect_state(place.ssl.get());
    if (place.session) SSL_set_session(place.ssl.get(), place.session.get());
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.ptr = &place;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.fd, &event);
    // Loopback connects at once: the ClientHello goes out now, and an error shows here.
    advance(place);
  }

  void turn() {
    epoll_event events[256];
    const int count = epoll_wait(epoll_, events, 256, 100);
    for (int i = 0; i < count; ++i) {
      Place& place = *static_cast<Place*>(events[i].data.ptr);
      place.socket.drained = false;
      advance(place);
    }
  }

  void advance(Place& place) {
    SSL* ssl = place.ssl.get();
    if (!place.asked) {
      const int result = SSL_do_handshake(ssl);
      if (result != 1) {
        if (SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ) end(place, false);
        return;
      }
      if (!is_wanted(ssl, place) || !ask(place)) return end(place, false);
    }
    int got;
    while ((got = SSL_read(ssl, data_, sizeof data_)) > 0) {
      if (!take(place, {data_, static_cast<size_t>(got)})) continue;
      if (mode_ != Mode::kKeepAlive) return end(place, true);
      count(place);
      place.begun = Clock::now();
      if (!ask(place)) return end(place, false);
      if (place.socket.begin == place.socket.end && place.socket.drained) return;
    }
    if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ) end(place, false);
  }

  bool is_wanted(SSL* ssl, const Place& place) const {
    const uint16_t cipher = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
    const bool is_aes128 = cipher == (SSL_version(ssl) == TLS1_3_VERSION ? 0x1301 : 0xc02b);
    return is_aes128 && (SSL_session_reused(ssl) != 0) == place.resumes;
  }

  bool ask(Place& place) {
    place.asked = true;
    place.in_body = false;
    place.head.clear();
    const int size = static_cast<int>(request_.size());
    return SSL_write(place.ssl.get(), request_.data(), size) == size;
  }

  // True: the answer is whole.
  bool take(Place& place, std::string_view bytes) {
    if (!place.in_body) {
      place.head.append(bytes);
      const size_t end = place.head.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      place.in_body = true;
      place.body_bytes = place.head.size() - end - 4;
      if (!place.head.starts_with("HTTP/1.1 200")) ++errors_;
    } else {
      place.body_bytes += bytes.size();
    }
    return place.body_bytes >= body_bytes_;
  }

  void count(const Place& place) {
    ++done_;
    const auto lasted = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - place.begun);
    latencies_us_.push_back(static_cast<uint32_t>(lasted.count()));
  }

  void end(Place& place, bool is_good) {
    if (is_good) {
      count(place);
    } else {
      ++errors_;
    }
    if (is_good && mode_ == Mode::kIdle) {
      place.socket.bytes.reset();
      epoll_ctl(epoll_, EPOLL_CTL_DEL, place.socket.fd, nullptr);
      return begin(add_place());
    }
    if (is_good) SSL_shutdown(place.ssl.get());
    place.ssl.reset();
    close(place.socket.fd);
    place.resumes = mode_ == Mode::kResumed;
    if (errors_ < kErrorsMax) begin(place);
  }

  static constexpr size_t kErrorsMax = 1000;  // enough to say that it does not work

  const Mode mode_;
  const size_t body_bytes_;
  const int epoll_;
  const std::string request_;
  bssl::UniquePtr<SSL_CTX> context_;
  sockaddr_in address_{};
  std::vector<std::unique_ptr<Place>> places_;
  size_t left_to_begin_ = 0;
  size_t done_ = 0, errors_ = 0;
  std::vector<uint32_t> latencies_us_;
  char data_[16384];
};

int usage() {
  std::fputs("usage: bench_tls_client PORT 1.2|1.3 full|resumed|keepalive CONCURRENT SECONDS BYTES\n", stderr);
  std::fputs("       bench_tls_client PORT 1.2|1.3 idle COUNT\n", stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view version = argc > 2 ? argv[2] : "", name = argc > 3 ? argv[3] : "";
  Mode mode;
  if (name == "full") mode = Mode::kFull;
  else if (name == "resumed") mode = Mode::kResumed;
  else if (name == "keepalive") mode = Mode::kKeepAlive;
  else if (name == "idle") mode = Mode::kIdle;
  else return usage();
  if (argc != (mode == Mode::kIdle ? 5 : 7) || (version != "1.2" && version != "1.3")) return usage();
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const size_t count = std::strtoul(argv[4], nullptr, 10);
  const size_t body_bytes = mode == Mode::kIdle ? 64 : std::strtoul(argv[6], nullptr, 10);
  Load load(static_cast<uint16_t>(std::atoi(argv[1])), version == "1.2" ? TLS1_2_VERSION : TLS1_3_VERSION, mode,
            body_bytes);
  if (mode != Mode::kIdle) {
    load.load(count, std::strtod(argv[5], nullptr));
    return 0;
  }
  if (!load.hold(count)) return 1;
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
