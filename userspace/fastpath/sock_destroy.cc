#include "fastpath/sock_destroy.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "fastpath/object.h"
#include "net/network_namespace.h"
#include "skel/leftover.skel.h"

namespace millrace::fastpath {

using base::Error;
using base::Result;

namespace {

constexpr uint32_t kConnectedStates = 1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_FIN_WAIT1 |
                                      1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK |
                                      1u << TCP_CLOSING;

// A netlink message in the making: plain structs and attributes, each padded to four bytes.
class Message {
 public:
  Message(uint16_t type, uint16_t flags) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    append(&header, sizeof header);
  }
  size_t append(const void* data, size_t size) {
    const size_t at = bytes_.size();
    bytes_.resize(at + NLMSG_ALIGN(size));
    std::memcpy(bytes_.data() + at, data, size);
    return at;
  }
  size_t begin_attribute(uint16_t type) {
    const nlattr attribute{sizeof(nlattr), type};
    return append(&attribute, sizeof attribute);
  }
  void end_attribute(size_t at) {
    const uint16_t size = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &size, sizeof size);
  }
  bool send_on(int fd) {
    const uint32_t size = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &size, sizeof size);
    return send(fd, bytes_.data(), bytes_.size(), 0) == static_cast<ssize_t>(bytes_.size());
  }

 private:
  std::vector<uint8_t> bytes_;
};

// "The peer is the endpoint", else past the end of the program, which means no (inet_diag_bc_run).
void append_peer_filter(Message& message, const fp_endpoint_addr& endpoint, bool v4) {
  const size_t addr_size = v4 ? 4 : 16;
  const size_t size = sizeof(inet_diag_bc_op) + sizeof(inet_diag_hostcond) + addr_size;
  const size_t attribute = message.begin_attribute(INET_DIAG_REQ_BYTECODE);
  const inet_diag_bc_op op{INET_DIAG_BC_D_COND, static_cast<uint8_t>(size), static_cast<uint16_t>(size + 4)};
  message.append(&op, sizeof op);
  inet_diag_hostcond peer{};
  peer.family = v4 ? AF_INET : AF_INET6;
  peer.prefix_len = static_cast<uint8_t>(addr_size * 8);
  peer.port = ntohs(endpoint.port);
  message.append(&peer, sizeof peer);
  message.append(v4 ? &endpoint.addr.w[3] : &endpoint.addr.w[0], addr_size);
  message.end_attribute(attribute);
}

void append_storage_wish(Message& message, int map) {
  const size_t storages = message.begin_attribute(INET_DIAG_REQ_SK_BPF_STORAGES);
  const size_t wish = message.begin_attribute(SK_DIAG_BPF_STORAGE_REQ_MAP_FD);
  const uint32_t fd = static_cast<uint32_t>(map);
  message.append(&fd, sizeof fd);
  message.end_attribute(wish);
  message.end_attribute(storages);
}

using Bytes = std::string_view;

// The first attribute of that type; empty if there is none.
Bytes attribute(Bytes in, uint16_t type) {
  while (in.size() >= sizeof(nlattr)) {
    nlattr head;
    std::memcpy(&head, in.data(), sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > in.size()) return {};
    if ((head.nla_type & NLA_TYPE_MASK) == type) return in.substr(sizeof head, head.nla_len - sizeof head);
    in.remove_prefix(std::min<size_t>(NLA_ALIGN(head.nla_len), in.size()));
  }
  return {};
}

bool dialled(Bytes attributes, const fp_endpoint_addr& service) {
  const Bytes value = attribute(attribute(attribute(attributes, INET_DIAG_SK_BPF_STORAGES), SK_DIAG_BPF_STORAGE),
                                SK_DIAG_BPF_STORAGE_MAP_VALUE);
  fp_dialled what;
  if (value.size() < sizeof what) return false;
  std::memcpy(&what, value.data(), sizeof what);
  return what.how == FP_HOW_BALANCED && std::memcmp(&what.original, &service, sizeof service) == 0;
}

// Calls `each` for every answer until the kernel says it is done.
Result<void> read_answers(int fd, const std::function<void(const inet_diag_msg&, Bytes attributes)>& each) {
  std::vector<char> buffer(64 << 10);
  for (;;) {
    const ssize_t received = recv(fd, buffer.data(), buffer.size(), 0);
    if (received < 0) return Error::from_errno(errno, "asking the kernel for its sockets");
    Bytes left(buffer.data(), static_cast<size_t>(received));
    while (left.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      std::memcpy(&header, left.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > left.size()) return {};
      Bytes body = left.substr(sizeof header, header.nlmsg_len - sizeof header);
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type == NLMSG_ERROR) {
        int error = 0;
        std::memcpy(&error, body.data(), std::min(sizeof error, body.size()));
        return error == 0 ? Result<void>() : Error::from_errno(-error, "asking the kernel for its sockets");
      }
      if (body.size() >= sizeof(inet_diag_msg)) {
        inet_diag_msg socket;
        std::memcpy(&socket, body.data(), sizeof socket);
        each(socket, body.substr(NLMSG_ALIGN(sizeof socket)));
      }
      left.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), left.size()));
    }
  }
}

inet_diag_req_v2 request_for(uint8_t family, uint8_t proto) {
  inet_diag_req_v2 request{};
  request.sdiag_family = family;
  request.sdiag_protocol = proto;
  request.idiag_states = kConnectedStates;
  return request;
}

Result<uint32_t> reset_family(int fd, uint8_t family, int map, const fp_endpoint_addr& service,
                              const fp_endpoint_addr& endpoint, bool v4) {
  Message dump(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
  const inet_diag_req_v2 request = request_for(family, endpoint.proto);
  dump.append(&request, sizeof request);
  append_peer_filter(dump, endpoint, v4);
  append_storage_wish(dump, map);
  if (!dump.send_on(fd)) return Error::from_errno(errno, "asking the kernel for its sockets");
  std::vector<inet_diag_sockid> found;
  Result<void> read = read_answers(fd, [&](const inet_diag_msg& socket, Bytes attributes) {
    if (dialled(attributes, service)) found.push_back(socket.id);
  });
  if (!read) return read.error();
  uint32_t reset = 0;
  for (const inet_diag_sockid& id : found) {
    Message destroy(SOCK_DESTROY, NLM_F_ACK);
    inet_diag_req_v2 target = request_for(family, endpoint.proto);
    target.id = id;
    destroy.append(&target, sizeof target);
    if (!destroy.send_on(fd)) return Error::from_errno(errno, "resetting a connection");
    Result<void> done = read_answers(fd, [](const inet_diag_msg&, Bytes) {});
    if (done.ok()) ++reset;
    else if (done.error().os != ENOENT) return done.error();  // ENOENT: it closed by itself
  }
  return reset;
}

Result<uint32_t> reset_in(int fd, int map, const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint) {
  const bool v4 = endpoint.addr.w[0] == 0 && endpoint.addr.w[1] == 0 && endpoint.addr.w[2] == htonl(0xffff);
  uint32_t sum = 0;
  // AF_INET6 sockets may hold mapped IPv4 connections.
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    if (family == AF_INET && !v4) continue;
    Result<uint32_t> reset = reset_family(fd, family, map, service, endpoint, v4);
    if (!reset) return reset;
    sum += *reset;
  }
  return sum;
}

Fd open_diag() { return Fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)); }

}  // namespace

class ConnectionResets::Leftover {
 public:
  static std::unique_ptr<Leftover> open(int dialled_map) {
    Result<Object<leftover_bpf>> object = Object<leftover_bpf>::open(nullptr);
    Result<void> loaded = object ? object->load() : object.error();
    if (!loaded) {
      MILLRACE_LOG(kInfo, "fastpath", "connections that cannot be reset are not counted: {}",
                   loaded.error().to_string());
      return nullptr;
    }
    return std::unique_ptr<Leftover>(new Leftover(std::move(*object), dialled_map));
  }

  uint32_t count(const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint) {
    leftover_bpf& leftover = *object_.get();
    leftover.bss->leftover_service = service;
    leftover.bss->leftover_endpoint = endpoint;
    leftover.bss->leftover_count = 0;
    bpf_iter_link_info which{};
    which.map.map_fd = static_cast<uint32_t>(dialled_map_);
    LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &which, .link_info_len = sizeof which);
    bpf_link* link = bpf_program__attach_iter(leftover.progs.count_leftover, &options);
    if (link == nullptr) return 0;
    if (const Fd run(bpf_iter_create(bpf_link__fd(link))); run) {
      char none[64];
      while (read(run.get(), none, sizeof none) > 0 || errno == EAGAIN) errno = 0;
    }
    bpf_link__destroy(link);
    return leftover.bss->leftover_count;
  }

 private:
  Leftover(Object<leftover_bpf> object, int dialled_map) : object_(std::move(object)), dialled_map_(dialled_map) {}
  Object<leftover_bpf> object_;
  const int dialled_map_;
};

ConnectionResets::ConnectionResets(int dialled_map, const std::vector<std::string>& namespaces)
    : dialled_map_(dialled_map), leftover_(Leftover::open(dialled_map)) {
  const auto add = [this](Fd diag, std::string_view where) {
    if (diag) return diags_.push_back(std::move(diag));
    MILLRACE_LOG(kWarn, "fastpath", "connections{} to endpoints that are taken out stay: {}", where,
                 Error::from_errno(errno, "opening sock_diag").to_string());
  };
  add(open_diag(), "");
  for (const std::string& path : namespaces) {
    Fd diag;
    Result<net::NetworkNamespace> place = net::NetworkNamespace::open(path);
    if (place && place->own()) continue;
    Result<void> entered = place ? place->run([&] { diag = open_diag(); }) : place.error();
    if (entered) {
      add(std::move(diag), " of another network namespace");
    } else {
      MILLRACE_LOG(kWarn, "fastpath", "connections to endpoints that are taken out stay: {}",
                   entered.error().to_string());
    }
  }
}

ConnectionResets::~ConnectionResets() = default;

Result<uint32_t> ConnectionResets::reset(const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint) {
  uint32_t sum = 0;
  Result<void> outcome;
  for (const Fd& diag : diags_) {
    Result<uint32_t> reset = reset_in(diag.get(), dialled_map_, service, endpoint);
    if (reset) sum += *reset;
    else outcome = reset.error();
  }
  return outcome || sum > 0 ? Result<uint32_t>(sum) : outcome.error();
}

uint32_t ConnectionResets::count(const fp_endpoint_addr& service, const fp_endpoint_addr& endpoint) {
  return leftover_ ? leftover_->count(service, endpoint) : 0;
}

}  // namespace millrace::fastpath
