// cgroup/sendmsg4|6 and recvmsg4|6: connect-time services for UDP sockets that never connect, DNS first of all. A
// socket keeps to one endpoint as long as the set of endpoints stays: its cookie chooses. Answers are shown to come
// from the service that was asked. A mapped IPv4 destination arrives at sendmsg4, its answer at recvmsg6.
#include "lib/addr.h"
#include "lib/counters.h"
#include "lib/dialled.h"
#include "lib/own.h"
#include "lib/service.h"
#include "lib/verdict.h"

char LICENSE[] SEC("license") = "GPL";

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct fp_answer_key);
  __type(value, struct fp_endpoint_addr);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} fp_answers SEC(".maps");

// Written only when it changes: most datagrams of a socket go the way of the one before.
static __always_inline int expect_answer(__u64 socket, const struct fp_endpoint_addr *endpoint,
                                         const struct fp_endpoint_addr *service) {
  struct fp_answer_key key = {.socket = socket, .endpoint = *endpoint};
  struct fp_endpoint_addr *known = bpf_map_lookup_elem(&fp_answers, &key);
  if (known && same_endpoint(known, service)) return 1;
  return !bpf_map_update_elem(&fp_answers, &key, service, BPF_ANY);
}

// The socket talks to this address itself: what comes from there is no service's answer any more.
static __always_inline void expect_no_answer(__u64 socket, const struct fp_endpoint_addr *to) {
  struct fp_answer_key key = {.socket = socket, .endpoint = *to};
  if (bpf_map_lookup_elem(&fp_answers, &key)) bpf_map_delete_elem(&fp_answers, &key);
}

static __always_inline enum verdict steer(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *to,
                                          struct fp_endpoint_addr *target) {
  __u64 cookie;
  if (to->proto != IPPROTO_UDP || is_own()) return KEEP;
  cookie = bpf_get_socket_cookie(ctx);
  switch (choose_endpoint(to, mix64(cookie), target)) {
    case SERVICE_CHOSEN:
      if (!expect_answer(cookie, target, to)) {
        count(FP_SERVICE_NO_STORAGE);
        return KEEP;
      }
      count(FP_BALANCED_DATAGRAM);
      return SEND;
    case SERVICE_REFUSES:
      count(FP_SERVICE_EMPTY_REFUSED);
      return REFUSE;
    case SERVICE_EMPTY:
      count(FP_SERVICE_EMPTY_PASSED);
      return KEEP;
    default:
      expect_no_answer(cookie, to);
      return KEEP;
  }
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr to, target = {};
  read_v4(ctx, &to);
  enum verdict verdict = steer(ctx, &to, &target);
  if (verdict == SEND) write_v4(ctx, &target);
  return answer(verdict);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr to, target = {};
  read_v6(ctx, &to);
  enum verdict verdict = steer(ctx, &to, &target);
  if (verdict == SEND) write_v6(ctx, &target);
  return answer(verdict);
}

// The address that the receiver of a datagram from `source` asked: what its socket dialled, or what it sent to.
static __always_inline int shown_source(struct bpf_sock_addr *ctx, const struct fp_endpoint_addr *source,
                                        struct fp_endpoint_addr *shown) {
  struct fp_answer_key key = {.endpoint = *source};
  struct fp_endpoint_addr *service;
  struct fp_dialled *dialled;
  if (source->proto != IPPROTO_UDP) return 0;
  dialled = dialled_of(ctx->sk);
  if (dialled && same_endpoint(&dialled->target, source)) {
    *shown = dialled->original;
    count(FP_DATAGRAM_ANSWERED);
    return 1;
  }
  key.socket = bpf_get_socket_cookie(ctx);
  service = bpf_map_lookup_elem(&fp_answers, &key);
  if (!service) return 0;
  *shown = *service;
  count(FP_DATAGRAM_ANSWERED);
  return 1;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr source, shown = {};
  read_v4(ctx, &source);
  if (shown_source(ctx, &source, &shown)) write_v4(ctx, &shown);
  return 1;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx) {
  struct fp_endpoint_addr source, shown = {};
  read_v6(ctx, &source);
  if (shown_source(ctx, &source, &shown)) write_v6(ctx, &shown);
  return 1;
}
