// Two local applications and what passes between them, for `./dev bench paths`. One thread per connection, as plain as
// applications are: the path between them is what is measured. Sockets do not block and poll() waits, as an event loop
// does it, on all paths alike: the kernel's short-circuit leaves blocking readers alone.
//
//   bench_local_apps serve ADDRESS PORT
//   bench_local_apps pingpong ADDRESS PORT BYTES SECONDS   messages of BYTES there and back: latency
//   bench_local_apps bulk ADDRESS PORT BYTES SECONDS       one way, in writes of BYTES: throughput
//   bench_local_apps late_bulk ADDRESS PORT BYTES SECONDS  a dialogue of small messages before, then as bulk
//   bench_local_apps connect ADDRESS PORT SECONDS          connect, a byte there and back, close
//
// Clients print one line of JSON: times in microseconds, CPU of the client's process. A connection opens with a Hello.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

enum Mode : uint32_t { kEcho = 1, kSink = 2, kLateSink = 3 };
struct Hello {
  uint32_t mode;
  uint32_t bytes;  // of one message
};
// What precedes late bulk: long enough for a fast path to take over.
constexpr int kDialogueTurns = 64;
constexpr size_t kDialogueBytes = 64;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family = AF_INET;

  Endpoint(const char* address, const char* port) {
    const auto number = htons(static_cast<uint16_t>(std::atoi(port)));
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = number;
      length = sizeof *v4;
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = number;
      length = sizeof *v6;
      family = AF_INET6;
    } else {
      std::fprintf(stderr, "not an address: %s\n", address);
      std::exit(2);
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void wait_for(int fd, short what) {
  pollfd one{fd, what, 0};
  while (poll(&one, 1, -1) < 0 && errno == EINTR) {
  }
}

bool would_block() {
  return errno == EAGAIN || errno == EINTR;
}

// Tries first and waits if there is no space, as there mostly is.
bool send_all(int fd, const void* data, size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = send(fd, at, bytes, MSG_NOSIGNAL);
    if (put > 0) {
      at += put;
      bytes -= static_cast<size_t>(put);
    } else if (put < 0 && would_block()) {
      wait_for(fd, POLLOUT);
    } else {
      return false;
    }
  }
  return true;
}

// Waits first, since mostly there is nothing yet. What recv() says of a blocking socket.
ssize_t receive_some(int fd, void* data, size_t bytes) {
  while (true) {
    wait_for(fd, POLLIN);
    const ssize_t got = recv(fd, data, bytes, 0);
    if (got >= 0 || !would_block()) return got;
  }
}

bool receive_all(int fd, void* data, size_t bytes) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = receive_some(fd, at, bytes);
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

void answer_dialogue(int fd) {
  char message[kDialogueBytes];
  for (int turn = 0; turn < kDialogueTurns; ++turn) {
    if (!receive_all(fd, message, sizeof message) || !send_all(fd, message, sizeof message)) return;
  }
}

void serve_one(int fd) {
  Hello hello{};
  if (receive_all(fd, &hello, sizeof hello) && hello.bytes > 0 && hello.bytes <= 64u << 20) {
    std::vector<char> message(hello.mode == kEcho ? hello.bytes : 256 * 1024);
    if (hello.mode == kLateSink) answer_dialogue(fd);
    if (hello.mode == kEcho) {
      while (receive_all(fd, message.data(), message.size()) && send_all(fd, message.data(), message.size())) {
      }
    } else {
      uint64_t total = 0;
      for (ssize_t got; (got = receive_some(fd, message.data(), message.size())) > 0;) {
        total += static_cast<uint64_t>(got);
      }
      send_all(fd, &total, sizeof total);
    }
  }
  close(fd);
}

[[noreturn]] void serve(const Endpoint& at) {
  const int listener = socket(at.family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, at.get(), at.length) != 0 || listen(listener, 4096) != 0) die("serve");
  while (true) {
    wait_for(listener, POLLIN);
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0 && (would_block() || errno == ECONNABORTED)) continue;
    if (fd < 0) die("accept");
    no_delay(fd);
    std::thread(serve_one, fd).detach();
  }
}

int connect_to(const Endpoint& to) {
  const int fd = socket(to.family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) die("socket");
  if (connect(fd, to.get(), to.length) != 0) {
    if (errno != EINPROGRESS) die("connect");
    wait_for(fd, POLLOUT);
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) die("SO_ERROR");
    if ((errno = error) != 0) die("connect");
  }
  no_delay(fd);
  return fd;
}

double cpu_us() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Runs step() until the time is over; returns how long each took, sorted, in microseconds.
template <class Step>
std::vector<double> repeat(double seconds, Step step) {
  std::vector<double> took;
  took.reserve(1 << 20);
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (auto before = Clock::now(); before < end;) {
    step();
    const auto after = Clock::now();
    took.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    before = after;
  }
  std::sort(took.begin(), took.end());
  return took;
}

double at_percent(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(static_cast<double>(sorted.size()) * percent / 100))];
}

void report(const std::vector<double>& took, double elapsed_s, double cpu, double bytes) {
  std::printf(
      "{\"count\":%zu,\"seconds\":%.6f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"client_cpu_us\":%.0f,"
      "\"bytes\":%.0f}\n",
      took.size(), elapsed_s, at_percent(took, 50), at_percent(took, 99), cpu, bytes);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void pingpong(const Endpoint& to, uint32_t bytes, double seconds) {
  const int fd = connect_to(to);
  const Hello hello{kEcho, bytes};
  std::vector<char> message(bytes, 'x');
  auto step = [&] {
    if (!send_all(fd, message.data(), bytes) || !receive_all(fd, message.data(), bytes)) die("pingpong");
  };
  if (!send_all(fd, &hello, sizeof hello)) die("pingpong");
  repeat(std::min(0.2, seconds / 4), step);  // warms up, and gives a fast path the time to take over
  const double cpu = cpu_us();
  const auto start = Clock::now();
  const std::vector<double> took = repeat(seconds, step);
  report(took, seconds_since(start), cpu_us() - cpu, 2.0 * bytes * static_cast<double>(took.size()));
  close(fd);
}

void hold_dialogue(int fd) {
  char message[kDialogueBytes] = {};
  for (int turn = 0; turn < kDialogueTurns; ++turn) {
    if (!send_all(fd, message, sizeof message) || !receive_all(fd, message, sizeof message)) die("dialogue");
  }
}

void bulk(const Endpoint& to, uint32_t bytes, double seconds, bool late) {
  const int fd = connect_to(to);
  const Hello hello{late ? kLateSink : kSink, bytes};
  const std::vector<char> message(bytes, 'x');
  if (!send_all(fd, &hello, sizeof hello)) die("bulk");
  if (late) hold_dialogue(fd);
  const double cpu = cpu_us();
  const auto start = Clock::now();
  const std::vector<double> took = repeat(seconds, [&] {
    if (!send_all(fd, message.data(), bytes)) die("bulk");
  });
  shutdown(fd, SHUT_WR);
  uint64_t total = 0;
  if (!receive_all(fd, &total, sizeof total)) die("bulk: no total");
  if (total != took.size() * bytes) {
    std::fprintf(stderr, "bulk: %llu bytes arrived of %zu\n", static_cast<unsigned long long>(total),
                 took.size() * bytes);
    std::exit(1);
  }
  report(took, seconds_since(start), cpu_us() - cpu, static_cast<double>(total));
  close(fd);
}

// Prints the time of connect() alone, too.
void connects(const Endpoint& to, double seconds) {
  std::vector<double> connect_took;
  const Hello hello{kEcho, 1};
  struct {
    Hello hello;
    char byte = 'x';
  } __attribute__((packed)) first{hello};
  const double cpu = cpu_us();
  const auto start = Clock::now();
  const std::vector<double> took = repeat(seconds, [&] {
    const auto before = Clock::now();
    const int fd = connect_to(to);
    connect_took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - before).count());
    char byte = 0;
    if (!send_all(fd, &first, sizeof first) || !receive_all(fd, &byte, 1)) die("connect: exchange");
    const linger reset{1, 0};  // thousands of ports a second must not wait in TIME_WAIT
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
  });
  const double elapsed = seconds_since(start);
  std::sort(connect_took.begin(), connect_took.end());
  std::printf("{\"connect_p50_us\":%.3f,\"connect_p99_us\":%.3f,\"rest\":", at_percent(connect_took, 50),
              at_percent(connect_took, 99));
  report(took, elapsed, cpu_us() - cpu, 0);
  std::printf("}\n");
}

int usage() {
  std::fprintf(stderr, "usage: bench_local_apps serve|pingpong|bulk|late_bulk|connect ADDRESS PORT "
                       "[BYTES] [SECONDS]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return usage();
  const std::string_view what = argv[1];
  const Endpoint endpoint(argv[2], argv[3]);
  if (what == "serve") serve(endpoint);
  if (what == "connect" && argc == 5) {
    connects(endpoint, std::atof(argv[4]));
  } else if (what == "pingpong" && argc == 6) {
    pingpong(endpoint, static_cast<uint32_t>(std::atoi(argv[4])), std::atof(argv[5]));
  } else if ((what == "bulk" || what == "late_bulk") && argc == 6) {
    bulk(endpoint, static_cast<uint32_t>(std::atoi(argv[4])), std::atof(argv[5]), what == "late_bulk");
  } else {
    return usage();
  }
}
