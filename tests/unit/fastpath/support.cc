#include "support.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "fastpath/cgroup.h"
#include "fastpath/pin_dir.h"

namespace millrace::fastpath::testing {

namespace {

constexpr int kPatienceMs = 2000;
constexpr unsigned kChildSecondsMax = 60;

std::string unique_name() {
  static std::atomic<int> next{0};
  return fmt::format("mr-test-{}-{}", getpid(), next++);
}

bool readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return poll(&wait, 1, kPatienceMs) == 1;
}

std::string text_of_errno(int error) { return strerrorname_np(error); }

// The address as an AF_INET6 socket takes it, IPv4 in its mapped form.
socklen_t fill(const net::Address& to, bool mapped, sockaddr_storage& storage) {
  if (!mapped || to.kind() != net::Address::Kind::kIpv4) return to.to_sockaddr(storage);
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(to.port());
  in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(in6.sin6_addr.s6_addr + 12, to.bytes().data(), 4);
  std::memcpy(&storage, &in6, sizeof in6);
  return sizeof in6;
}

// The process that named a thing of a test's; 0 if it is none.
pid_t maker_of(const std::string& name) {
  int pid = 0, number = 0;
  return sscanf(name.c_str(), "mr-test-%d-%d", &pid, &number) == 2 ? pid : 0;
}

// What tests of crashed processes left.
bool sweep() {
  const auto left = [](const std::string& folder) {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
      const pid_t pid = maker_of(entry.path().filename());
      if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) names.push_back(entry.path());
    }
    return names;
  };
  for (const std::string& pins : left("/sys/fs/bpf")) (void)detach(pins, true).ok();
  for (const std::string& cgroup : left(cgroup_mount().value())) rmdir(cgroup.c_str());
  return true;
}

}  // namespace

std::string bpf_refused() {
  if (geteuid() != 0) return "needs root";
  if (!cgroup_mount().ok()) return "needs cgroup v2";
  const Fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "probe", 4, 4, 1, nullptr));
  if (!map) return "the kernel refuses BPF";
  static const bool swept = sweep();
  (void)swept;
  return {};
}

TestPins::TestPins() : path_("/sys/fs/bpf/" + unique_name()) {}
TestPins::~TestPins() { EXPECT_TRUE(detach(path_, true).ok()); }

TestCgroup::TestCgroup(const std::string& parent) {
  path_ = (parent == "/" ? "" : parent) + "/" + unique_name();
  folder_ = cgroup_mount().value() + path_;
  EXPECT_EQ(mkdir(folder_.c_str(), 0755), 0) << folder_;
}

TestCgroup::~TestCgroup() {
  std::ofstream(folder_ + "/cgroup.kill") << "1";
  for (int i = 0; i < 1000 && rmdir(folder_.c_str()) != 0 && errno == EBUSY; ++i) poll(nullptr, 0, 2);
  EXPECT_NE(access(folder_.c_str(), F_OK), 0);
}

void TestCgroup::join() const { std::ofstream(folder_ + "/cgroup.procs") << getpid(); }

std::string in_child(const TestCgroup* cgroup, const std::function<std::string()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "pipe2";
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(kChildSecondsMax);
    if (cgroup != nullptr) cgroup->join();
    const std::string answer = body();
    const bool written = write(ends[1], answer.data(), answer.size()) == static_cast<ssize_t>(answer.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  const Fd out(ends[0]);
  std::string answer;
  char chunk[512];
  for (ssize_t n; (n = read(out.get(), chunk, sizeof chunk)) > 0;) answer.append(chunk, static_cast<size_t>(n));
  int status = 0;
  waitpid(pid, &status, 0);
  return status == 0 ? answer : fmt::format("child ended with status {}", status);
}

Child::Child(const TestCgroup* cgroup, const std::function<void()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  pid_ = fork();
  if (pid_ == 0) {
    alarm(kChildSecondsMax);
    if (cgroup != nullptr) cgroup->join();
    dup2(ends[1], STDOUT_FILENO);
    body();
    for (;;) pause();
  }
  close(ends[1]);
  output_ = Fd(ends[0]);
}

Child::~Child() { kill(); }

void Child::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string Child::line() {
  std::string out;
  for (char c; readable(output_.get()) && read(output_.get(), &c, 1) == 1 && c != '\n';) out.push_back(c);
  return out;
}

void enter_new_netns() {
  if (unshare(CLONE_NEWNET) != 0) _exit(1);
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) _exit(1);
}

bool Child::readable_now() const {
  pollfd wait{output_.get(), POLLIN, 0};
  return poll(&wait, 1, 0) == 1;
}

bool become_nobody(const std::vector<int>& capabilities) {
  return prctl(PR_SET_KEEPCAPS, 1) == 0 && setgid(65534) == 0 && setuid(65534) == 0 && keep_capabilities(capabilities);
}

bool keep_capabilities(const std::vector<int>& capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (const int capability : capabilities) {
    data[capability / 32].permitted |= 1u << (capability % 32);
    data[capability / 32].effective |= 1u << (capability % 32);
  }
  return syscall(SYS_capset, &header, data) == 0;
}

net::Address address(std::string_view ip, uint16_t port) { return net::Address::parse_ip(ip, port).value(); }

net::Address local_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
}

net::Address peer_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
}

Fd make_socket(int family, int type) { return Fd(socket(family, type | SOCK_CLOEXEC, 0)); }

Fd bind_socket(const net::Address& at, int type, bool reuse_port) {
  Fd fd = make_socket(at.family(), type);
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, reuse_port ? SO_REUSEPORT : SO_REUSEADDR, &one, sizeof one);
  sockaddr_storage storage{};
  const socklen_t size = at.to_sockaddr(storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return {};
  if (type == SOCK_STREAM && listen(fd.get(), 128) != 0) return {};
  return fd;
}

std::string dial(int fd, const net::Address& to, bool mapped) {
  sockaddr_storage storage{};
  const socklen_t size = fill(to, mapped, storage);
  return connect(fd, reinterpret_cast<sockaddr*>(&storage), size) == 0 ? "ok" : text_of_errno(errno);
}

Fd accept_one(int listener) {
  return readable(listener) ? Fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) : Fd();
}

std::optional<std::string> receive(int fd, net::Address* from) {
  if (!readable(fd)) return std::nullopt;
  char text[2048];
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  const ssize_t n = recvfrom(fd, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&storage), &size);
  if (n < 0) return std::nullopt;
  if (from != nullptr) *from = net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
  return std::string(text, static_cast<size_t>(n));
}

bool send_text(int fd, std::string_view text) {
  return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::string send_to(int fd, std::string_view text, const net::Address& to, bool mapped) {
  sockaddr_storage storage{};
  const socklen_t size = fill(to, mapped, storage);
  const ssize_t n = sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&storage), size);
  return n == static_cast<ssize_t>(text.size()) ? "ok" : text_of_errno(errno);
}

}  // namespace millrace::fastpath::testing
