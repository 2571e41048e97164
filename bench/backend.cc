// The backend of the benchmarks: one thread, epoll, answers `GET /<n>` with n bytes at as little cost as possible, so
// that the proxy in front of it is what is measured. Understands just what the load generators send: requests without
// a body, pipelined or not. Usage: bench_backend PORT; listens on 127.0.0.1.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kBodyBytesMax = 64 << 20;

struct Connection {
  std::string in;
  const std::string* out = nullptr;  // the response being written
  size_t written = 0;
  bool waits_for_room = false;  // EPOLLOUT is asked for
};

// Responses by size, built at first use.
const std::string& response(size_t bytes) {
  static std::map<size_t, std::string> made;
  auto found = made.find(bytes);
  if (found == made.end()) {
    std::string text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ";
    text += std::to_string(bytes) + "\r\n\r\n";
    text.append(bytes, 'x');
    found = made.emplace(bytes, std::move(text)).first;
  }
  return found->second;
}

class Backend {
 public:
  explicit Backend(uint16_t port)
      : epoll_(epoll_create1(0)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 4096) != 0) {
      std::perror("bench_backend: listen");
      std::exit(1);
    }
    watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
  }

  [[noreturn]] void run() {
    epoll_event events[512];
    while (true) {
      int count = epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < count; ++i) {
        int fd = events[i].data.fd;
        if (fd == listener_) {
          accept_all();
        } else if (!serve(fd, (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)) {
          connections_[fd].reset();
          close(fd);
        }
      }
    }
  }

 private:
  void watch(int fd, uint32_t events, int how) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_, how, fd, &event);
  }

  void accept_all() {
    int fd;
    while ((fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) >= 0) {
      int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      if (connections_.size() <= static_cast<size_t>(fd)) connections_.resize(fd + 1);
      connections_[fd] = std::make_unique<Connection>();
      watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
  }

  // Reads, answers what is whole, and writes. False: the connection is over.
  bool serve(int fd, bool readable) {
    Connection& connection = *connections_[fd];
    if (readable) {
      char data[16384];
      ssize_t got = read(fd, data, sizeof data);
      if (got <= 0) return got < 0 && errno == EAGAIN;
      connection.in.append(data, static_cast<size_t>(got));
    }
    while (true) {
      if (connection.out == nullptr && !next_request(connection)) return true;
      const std::string& out = *connection.out;
      ssize_t put = send(fd, out.data() + connection.written, out.size() - connection.written, MSG_NOSIGNAL);
      if (put < 0) {
        if (errno != EAGAIN) return false;
        watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        connection.waits_for_room = true;
        return true;
      }
      connection.written += static_cast<size_t>(put);
      if (connection.written == out.size()) {
        connection.out = nullptr;
        if (connection.waits_for_room) watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        connection.waits_for_room = false;
      }
    }
  }

  static bool next_request(Connection& connection) {
    size_t end = connection.in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    size_t slash = connection.in.find('/');
    size_t bytes = slash < end ? std::strtoul(connection.in.c_str() + slash + 1, nullptr, 10) : 0;
    connection.out = &response(bytes < kBodyBytesMax ? bytes : kBodyBytesMax);
    connection.written = 0;
    connection.in.erase(0, end + 4);
    return true;
  }

  int epoll_;
  int listener_;
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench_backend PORT\n");
    return 2;
  }
  Backend(static_cast<uint16_t>(std::atoi(argv[1]))).run();
}
