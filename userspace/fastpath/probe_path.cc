#include "fastpath/probe_path.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fastpath/cgroup.h"

namespace millrace::fastpath {

using base::Error;
using base::Result;

Result<std::unique_ptr<ProbeGround>> ProbeGround::open(std::string_view loopback, const SpliceOptions& options) {
  Result<net::Address> any_port = net::Address::parse_ip(loopback, 0);
  if (!any_port) return any_port.error();
  std::unique_ptr<ProbeGround> ground(new ProbeGround);
  ground->listener_ = Fd(socket(any_port->family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  socklen_t size = any_port->to_sockaddr(storage);
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  if (!ground->listener_ || bind(ground->listener_.get(), raw, size) != 0 || listen(ground->listener_.get(), 8) != 0) {
    return Error::from_errno(errno, "listening for the probes");
  }
  size = sizeof storage;
  getsockname(ground->listener_.get(), raw, &size);
  ground->address_ = net::Address::from_sockaddr(raw, size);
  Result<Splice> splice = Splice::start(options);
  if (!splice) return splice.error();
  ground->splice_.emplace(std::move(*splice));
  Result<Cgroup> own = Cgroup::own();
  if (!own) return own.error();
  if (Result<void> attached = ground->splice_->attach(own->place()); !attached) return attached.error();
  if (Result<void> set = ground->splice_->set_services({ground->address_}); !set) return set.error();
  Result<SpliceOffers> offers = SpliceOffers::open(*ground->splice_, 0, 1);
  if (!offers) return offers.error();
  ground->offers_.emplace(std::move(*offers));
  return ground;
}

Result<ProbeGround::Connection> ProbeGround::connect() const {
  sockaddr_storage storage{};
  const socklen_t size = address_.to_sockaddr(storage);
  Connection made;
  made.dialled = Fd(socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int dialled = ::connect(made.dialled.get(), reinterpret_cast<sockaddr*>(&storage), size);
  if (dialled != 0 && errno != EINPROGRESS) return Error::from_errno(errno, "dialling for the probes");
  if (!probe_wait(listener_.get(), POLLIN)) return Error::from_errno(ETIMEDOUT, "accepting for the probes");
  made.accepted = Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!made.accepted) return Error::from_errno(errno, "accepting for the probes");
  return made;
}

uint64_t ProbeGround::redirected() const {
  uint64_t messages = 0;
  for (const SpliceCount& count : splice_->counts()) {
    if (count.name.starts_with("redirected_")) messages += count.messages;
  }
  return messages;
}

Result<ProbePath> ProbePath::hop(ProbeGround& ground) {
  Result<ProbeGround::Connection> near = ground.connect();
  if (!near) return near.error();
  ProbePath path;
  path.near_ = std::move(*near);
  Result<HopOffer> offer = ground.offers().offer_hop(path.near_.accepted.get());
  if (!offer) return offer.error();
  path.hop_offer_ = std::move(*offer);
  return path;
}

Result<ProbePath> ProbePath::joined(ProbeGround& ground) {
  Result<ProbeGround::Connection> near = ground.connect();
  if (!near) return near.error();
  Result<ProbeGround::Connection> far = ground.connect();
  if (!far) return far.error();
  ProbePath path;
  path.joined_ = true;
  path.near_ = std::move(*near);
  path.far_ = std::move(*far);
  Result<JoinedPair> pair = ground.offers().join(path.near_.accepted.get(), path.far_.accepted.get(), 0, 0);
  if (!pair) return pair.error();
  path.pair_ = std::move(*pair);
  return path;
}

bool ProbePath::relay(size_t size) {
  if (!joined_) return true;
  sent_ += size;
  const uint64_t through_us = sent_ - pair_.traffic(SpliceDirection::kFromDownstream).bytes;
  const std::string part = probe_receive(near_.accepted.get(), through_us - handed_on_);
  if (handed_on_ + part.size() != through_us || !probe_send(far_.accepted.get(), part)) return false;
  handed_on_ = through_us;
  pair_.report(SpliceDirection::kFromDownstream, handed_on_);
  return true;
}

bool ProbePath::pass_on_end() const {
  if (!joined_) return true;
  return probe_at_end(near_.accepted.get()) && shutdown(far_.accepted.get(), SHUT_WR) == 0;
}

bool probe_wait(int fd, short events) {
  pollfd wait{fd, events, 0};
  return poll(&wait, 1, static_cast<int>(kProbePatience.count())) == 1;
}

bool probe_send(int fd, std::string_view text, int flags) {
  while (!text.empty()) {
    const ssize_t n = send(fd, text.data(), text.size(), flags | MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
    else if (errno != EAGAIN || !probe_wait(fd, POLLOUT)) return false;
  }
  return true;
}

std::string probe_receive(int fd, size_t size_max, int flags) {
  std::string out;
  char chunk[16384];
  while (out.size() < size_max && probe_wait(fd, POLLIN)) {
    const ssize_t n = recv(fd, chunk, std::min(sizeof chunk, size_max - out.size()), flags | MSG_DONTWAIT);
    if (n <= 0) break;
    out.append(chunk, static_cast<size_t>(n));
    if ((flags & MSG_PEEK) != 0) break;
  }
  return out;
}

bool probe_at_end(int fd) {
  char byte;
  return probe_wait(fd, POLLIN) && recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace millrace::fastpath
