#include "fastpath/splice.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "fastpath/fd.h"
#include "skel/splice.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace millrace::fastpath {

using base::Result;

namespace {

struct ReasonText {
  std::string_view name;
  std::string_view text;
};
#define FP_SPLICE_REASON_TEXT_(id, name, text) ReasonText{name, text},
constexpr ReasonText kReasons[] = {FP_SPLICE_REASONS(FP_SPLICE_REASON_TEXT_)};
static_assert(std::size(kReasons) == FP_SPLICE_REASON_COUNT);

fp_addr service_addr(const net::Address& address) {
  fp_addr out{};
  if (address.is_any()) return out;  // the wildcard, of either family
  if (address.kind() == net::Address::Kind::kIpv4) {
    out.w[2] = htonl(0xffff);
    std::memcpy(&out.w[3], address.bytes().data(), 4);
  } else {
    std::memcpy(out.w, address.bytes().data(), 16);
  }
  return out;
}

net::Address text_addr(const fp_addr& addr, uint16_t port) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = port;
  std::memcpy(&in6.sin6_addr, addr.w, 16);
  if (!IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
    return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6);
  }
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_port = port;
  in4.sin_addr.s_addr = addr.w[3];
  return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in4), sizeof in4);
}

Result<uint64_t> own_netns_cookie() {
  const Fd probe(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (!probe || getsockopt(probe.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return base::Error::from_errno(errno, "asking for the cookie of the network namespace");
  }
  return cookie;
}

// Whether the kernel has a function that programs may call.
bool kernel_has(const char* function) {
  btf* kernel = btf__load_vmlinux_btf();
  const bool has = kernel != nullptr && btf__find_by_name_kind(kernel, function, BTF_KIND_FUNC) > 0;
  btf__free(kernel);
  return has;
}

bool same(const fp_splice_service& a, const fp_splice_service& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

void Splice::Detach::operator()(bpf_link* link) const { bpf_link__destroy(link); }

Splice::Splice(Object<splice_bpf> object) : object_(std::make_unique<Object<splice_bpf>>(std::move(object))) {}
Splice::Splice(Splice&&) noexcept = default;
Splice& Splice::operator=(Splice&&) noexcept = default;

Splice::~Splice() {
  if (object_) switch_on(false);
}

Result<Splice> Splice::start(const SpliceOptions& options) {
  Result<Object<splice_bpf>> object = Object<splice_bpf>::open(nullptr);
  if (!object) return object.error();
  object->get()->rodata->splice_budget = options.budget_bytes;
  object->get()->rodata->splice_bulk = options.bulk_bytes;
  object->get()->rodata->splice_floods = options.rule.gives_up() ? 0 : 1;
  const bool direct = options.direct_reads && kernel_has("bpf_rdonly_cast");
  bpf_program__set_autoload(object->get()->progs.splice_msg, direct);
  bpf_program__set_autoload(object->get()->progs.splice_msg_probing, !direct);
  if (Result<void> loaded = object->load(); !loaded) return loaded.error();
  Splice splice(std::move(*object));
  Result<uint64_t> netns = own_netns_cookie();
  if (!netns) return netns.error();
  splice.netns_cookie_ = *netns;
  splice.pieces_ = options.pieces;
  splice.rule_ = options.rule;
  if (Result<void> attached = splice.attach_verdict(); !attached) return attached.error();
  splice.switch_on(true);
  return splice;
}

// Without a link: links on sockmaps came with 6.10, and this attachment dies with the map as well.
Result<void> Splice::attach_verdict() {
  splice_bpf* skeleton = object_->get();
  const bool direct = bpf_program__autoload(skeleton->progs.splice_msg);
  const bpf_program* program = direct ? skeleton->progs.splice_msg : skeleton->progs.splice_msg_probing;
  if (bpf_prog_attach(bpf_program__fd(program), bpf_map__fd(skeleton->maps.splice_members),
                      BPF_SK_MSG_VERDICT, 0) != 0) {
    return bpf_failure(errno, "attaching the sk_msg program to its sockhash");
  }
  return {};
}

Result<void> Splice::attach(const Place& cgroup) {
  bpf_link* link = bpf_program__attach_cgroup((*object_)->progs.splice_sockops, cgroup.fd);
  if (link == nullptr) return bpf_failure(errno, fmt::format("attaching splice_sockops to {}", cgroup.path));
  links_.emplace_back(link);
  return {};
}

Result<void> Splice::set_services(const std::vector<net::Address>& services) {
  const int map = bpf_map__fd((*object_)->maps.splice_services);
  std::vector<fp_splice_service> wanted;
  for (const net::Address& address : services) {
    fp_splice_service service{};
    service.netns = netns_cookie_;
    service.addr = service_addr(address);
    service.port = htons(address.port());
    const uint32_t present = 1;
    if (bpf_map_update_elem(map, &service, &present, BPF_ANY) != 0) {
      return base::Error::from_errno(errno, fmt::format("opting {} into the short-circuit", address.to_string()));
    }
    wanted.push_back(service);
  }
  for (const fp_splice_service& old : services_) {
    const auto is_old = [&old](const fp_splice_service& service) { return same(service, old); };
    if (std::none_of(wanted.begin(), wanted.end(), is_old)) bpf_map_delete_elem(map, &old);
  }
  services_ = std::move(wanted);
  return {};
}

void Splice::switch_on(bool on) {
  (*object_)->bss->splice_enabled = on ? 1 : 0;
}

std::vector<SpliceCount> Splice::counts() const {
  const int map = bpf_map__fd((*object_)->maps.splice_counts);
  std::vector<fp_splice_count> cells(static_cast<size_t>(std::max(1, libbpf_num_possible_cpus())));
  std::vector<SpliceCount> out;
  for (uint32_t reason = 0; reason < FP_SPLICE_REASON_COUNT; ++reason) {
    SpliceCount count{kReasons[reason].name, kReasons[reason].text};
    if (bpf_map_lookup_elem(map, &reason, cells.data()) == 0) {
      for (const fp_splice_count& cell : cells) {
        count.messages += cell.messages;
        count.bytes += cell.bytes;
      }
    }
    out.push_back(count);
  }
  return out;
}

std::vector<SpliceMember> Splice::members() const {
  const int socks = bpf_map__fd((*object_)->maps.splice_socks);
  const int pairs = bpf_map__fd((*object_)->maps.splice_pairs);
  std::vector<SpliceMember> out;
  uint64_t cookie = 0;
  for (const uint64_t* previous = nullptr; bpf_map_get_next_key(socks, previous, &cookie) == 0; previous = &cookie) {
    fp_splice_sock sock{};
    if (bpf_map_lookup_elem(socks, &cookie, &sock) != 0) continue;
    SpliceMember member;
    member.cookie = cookie;
    member.peer_cookie = sock.peer;
    member.local = text_addr(sock.tuple.local, sock.tuple.local_port);
    member.remote = text_addr(sock.tuple.remote, sock.tuple.remote_port);
    member.active = sock.active != 0;
    member.hop_bytes = sock.hop_bytes;
    member.offered = sock.route == FP_SPLICE_HOP;
    uint32_t path = sock.path;
    fp_splice_pair pair{};
    const fp_splice_way& way = pair.ways[sock.direction & 1];
    if (sock.route == FP_SPLICE_JOINED && bpf_map_lookup_elem(pairs, &sock.pair, &pair) == 0 &&
        way.generation == sock.generation) {
      member.offered = true;
      member.far_cookie = sock.far;
      member.joined_bytes = way.redirected;
      path = way.path;
    }
    if (path < FP_SPLICE_REASON_COUNT) member.path = kReasons[path].name;
    out.push_back(std::move(member));
  }
  return out;
}

}  // namespace millrace::fastpath
