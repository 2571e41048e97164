#include "splice_support.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>

namespace millrace::fastpath::testing {

namespace {

// Sockets belong to the cgroup in which they are made, accepted ones to their listener's.
Cgroup joined(const TestCgroup& cgroup) {
  cgroup.join();
  return Cgroup::open(cgroup.path()).value();
}

}  // namespace

SpliceBench::SpliceBench(std::string_view ip)
    : before_(Cgroup::own().value()),
      place_(joined(cgroup_)),
      listener_(bind_socket(testing::address(ip, 0), SOCK_STREAM)),
      elsewhere_(bind_socket(testing::address(ip, 0), SOCK_STREAM)) {
  restart({});
}

SpliceBench::~SpliceBench() {
  const std::string root = cgroup_mount().value();
  std::ofstream(root + (before_.path() == "/" ? "" : before_.path()) + "/cgroup.procs") << getpid();
}

void SpliceBench::restart(const SpliceOptions& options) {
  stop();
  base::Result<Splice> splice = Splice::start(options);
  ASSERT_TRUE(splice.ok()) << splice.error().to_string();
  splice_.emplace(std::move(*splice));
  ASSERT_TRUE(splice_->attach(place_.place()).ok());
  ASSERT_TRUE(splice_->set_services({local_of(listener_.get())}).ok());
  base::Result<SpliceOffers> offers = SpliceOffers::open(*splice_, 0, 2);
  ASSERT_TRUE(offers.ok()) << offers.error().to_string();
  offers_.emplace(std::move(*offers));
}

void SpliceBench::stop() {
  offers_.reset();
  splice_.reset();
}

SpliceBench::Hop SpliceBench::connect_to(const Fd& listener) const {
  const net::Address at = local_of(listener.get());
  Hop hop;
  hop.app = make_socket(at.family(), SOCK_STREAM);
  EXPECT_EQ(dial(hop.app.get(), at), "ok");
  EXPECT_EQ(fcntl(hop.app.get(), F_SETFL, O_RDWR | O_NONBLOCK), 0);
  hop.daemon = accept_one(listener.get());
  EXPECT_TRUE(hop.daemon);
  return hop;
}

std::pair<Fd, int> SpliceBench::dial_only() const {
  const net::Address at = local_of(listener_.get());
  Fd dialled = make_socket(at.family(), SOCK_STREAM);
  EXPECT_EQ(dial(dialled.get(), at), "ok");
  return {std::move(dialled), listener_.get()};
}

SpliceBench::Hop SpliceBench::connect() const { return connect_to(listener_); }
SpliceBench::Hop SpliceBench::connect_elsewhere() const { return connect_to(elsewhere_); }

uint64_t SpliceBench::count(std::string_view reason) const {
  for (const SpliceCount& count : splice_->counts()) {
    if (count.name == reason) return count.messages;
  }
  ADD_FAILURE() << "no reason " << reason;
  return 0;
}

bool SpliceBench::settles(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

std::string receive_all(int fd, size_t size) {
  std::string out;
  while (out.size() < size) {
    const std::optional<std::string> part = receive(fd);
    if (!part || part->empty()) break;
    out += *part;
  }
  return out;
}

uint64_t tcp_memory_bytes() {
  std::ifstream in("/proc/net/sockstat");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("TCP:")) continue;
    std::istringstream words(line.substr(line.find("mem") + 3));
    uint64_t pages = 0;
    words >> pages;
    return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  return 0;
}

}  // namespace millrace::fastpath::testing
