// Short-circuit of local connections. sockops notes both ends of connections to opted-in services at ESTABLISHED;
// splice_admit, run by the daemon when it offers a connection, makes an end a member of the sockhash; sk_msg hands
// members' messages over. The rule by which a message chooses its path is in lib/splice_path.h.
//
// Sockets do not become members when they are established, as usual, because membership alone changes what a blocking
// reader sees: tcp_bpf_recvmsg() waits once, and any wake-up without data (a reset, space for another thread's send)
// makes recv() on a blocking socket fail with EAGAIN (read in 6.12.117, seen on 6.18.44). By the time of the offer it
// is known that the app's socket does not block.
#include "lib/addr.h"
#include "lib/splice_path.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline int is_loopback(const struct fp_addr *addr) {
  if (addr_is_v4(addr)) return (bpf_ntohl(addr->w[3]) >> 24) == 127;
  return addr->w[0] == 0 && addr->w[1] == 0 && addr->w[2] == 0 && addr->w[3] == bpf_htonl(1);
}

static __always_inline int same_addr(const struct fp_addr *a, const struct fp_addr *b) {
  return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline int tuple_of(struct bpf_sock_ops *ctx, struct fp_splice_tuple *tuple) {
  __builtin_memset(tuple, 0, sizeof *tuple);
  tuple->netns = bpf_get_netns_cookie(ctx);
  if (ctx->family == FP_AF_INET) {
    addr_set_v4(&tuple->local, ctx->local_ip4);
    addr_set_v4(&tuple->remote, ctx->remote_ip4);
  } else if (ctx->family == FP_AF_INET6) {
    tuple->local.w[0] = ctx->local_ip6[0];
    tuple->local.w[1] = ctx->local_ip6[1];
    tuple->local.w[2] = ctx->local_ip6[2];
    tuple->local.w[3] = ctx->local_ip6[3];
    tuple->remote.w[0] = ctx->remote_ip6[0];
    tuple->remote.w[1] = ctx->remote_ip6[1];
    tuple->remote.w[2] = ctx->remote_ip6[2];
    tuple->remote.w[3] = ctx->remote_ip6[3];
  } else {
    return 0;
  }
  tuple->local_port = bpf_htons((__u16)ctx->local_port);
  tuple->remote_port = bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
  tuple->family = addr_is_v4(&tuple->remote) ? FP_AF_INET : FP_AF_INET6;
  return 1;
}

static __always_inline struct fp_splice_tuple reversed(const struct fp_splice_tuple *tuple) {
  struct fp_splice_tuple out = {
      .netns = tuple->netns,
      .local = tuple->remote,
      .remote = tuple->local,
      .local_port = tuple->remote_port,
      .remote_port = tuple->local_port,
      .family = tuple->family,
  };
  return out;
}

static __always_inline int opted_in(const struct fp_splice_tuple *tuple, int active) {
  struct fp_splice_service service = {
      .netns = tuple->netns,
      .addr = active ? tuple->remote : tuple->local,
      .port = active ? tuple->remote_port : tuple->local_port,
  };
  if (bpf_map_lookup_elem(&splice_services, &service)) return 1;
  if (!is_loopback(&tuple->remote) && !same_addr(&tuple->remote, &tuple->local)) return 0;
  __builtin_memset(&service.addr, 0, sizeof service.addr);
  if (bpf_map_lookup_elem(&splice_services, &service)) return 1;
  service.port = 0;
  return bpf_map_lookup_elem(&splice_services, &service) != NULL;
}

// The accepted end knows the other one, which was noted before the last segment of the handshake was sent.
static __always_inline int meet(struct fp_splice_sock *record, __u64 cookie) {
  struct fp_splice_tuple other = reversed(&record->tuple);
  const __u64 *dialler = bpf_map_lookup_elem(&splice_dialling, &other);
  if (!dialler) return 0;
  record->peer = *dialler;
  bpf_map_delete_elem(&splice_dialling, &other);
  struct fp_splice_sock *peer = bpf_map_lookup_elem(&splice_socks, &record->peer);
  if (!peer) return 0;
  peer->peer = cookie;
  return 1;
}

static __always_inline void enter(struct bpf_sock_ops *ctx, int active) {
  struct fp_splice_sock record = {};
  if (!tuple_of(ctx, &record.tuple)) return;
  if (!opted_in(&record.tuple, active)) return;
  struct bpf_sock *sk = ctx->sk;
  if (!sk) return;
  const struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
  if (!tp || is_subflow(tp)) return;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  record.sk = (__u64)tp;
  record.base_seq = tp->write_seq;
  record.active = active;
  record.path = FP_SPLICE_REASON_COUNT;
  if (!active && !meet(&record, cookie)) return;
  if (bpf_map_update_elem(&splice_socks, &cookie, &record, BPF_ANY) != 0) {
    splice_count(FP_SPLICE_RECORD_REFUSED, 0);
    return;
  }
  if (active) bpf_map_update_elem(&splice_dialling, &record.tuple, &cookie, BPF_ANY);
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
  splice_count(FP_SPLICE_RECORD_ADDED, 0);
}

// TCP answers a close over unread bytes with RST; the kernel does not for redirected ones. They are still charged to
// the socket here, and what was in TCP's queue is not any more, so the daemon can be told. sock_map_close() takes the
// psock away first: with it there, the socket was only shut and can still be read.
static __always_inline void note_lost(struct bpf_sock *own, const struct sock *sk) {
  if (sk->sk_shutdown != (KERNEL_RCV_SHUTDOWN | KERNEL_SEND_SHUTDOWN) || psock_of(sk) != NULL) return;
  int unread = sk->sk_backlog.rmem_alloc.counter;
  if (unread <= 0) return;
  const struct fp_splice_route *route = bpf_sk_storage_get(&splice_routes, own, NULL, 0);
  if (!route || route->kind != FP_SPLICE_JOINED) return;
  __u32 at = route->pair;
  struct fp_splice_pair *pair = bpf_map_lookup_elem(&splice_pairs, &at);
  if (!pair) return;
  struct fp_splice_way *way = &pair->ways[(route->direction ^ 1) & 1];
  if (way->generation == route->generation) way->lost_at_close = unread;
}

static __always_inline void state_changed(struct bpf_sock_ops *ctx) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct bpf_sock *sk = ctx->sk;
  const struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
  if (sk && tp) note_lost(sk, &tp->inet_conn.icsk_inet.sk);
  if (ctx->args[1] != BPF_TCP_CLOSE) return;
  if (bpf_map_delete_elem(&splice_socks, &cookie) == 0) splice_count(FP_SPLICE_RECORD_LEFT, 0);
}

SEC("sockops")
int splice_sockops(struct bpf_sock_ops *ctx) {
  switch (ctx->op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB: enter(ctx, 1); break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: enter(ctx, 0); break;
    case BPF_SOCK_OPS_STATE_CB: state_changed(ctx); break;
  }
  return 1;
}

// The socket of a record, as the kernel's tables know it now. To be released.
static __always_inline struct bpf_sock *find(struct __sk_buff *skb, const struct fp_splice_tuple *of) {
  struct bpf_sock_tuple tuple = {};
  if (of->family == FP_AF_INET) {
    tuple.ipv4.saddr = of->remote.w[3];
    tuple.ipv4.daddr = of->local.w[3];
    tuple.ipv4.sport = of->remote_port;
    tuple.ipv4.dport = of->local_port;
    return bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv4, BPF_F_CURRENT_NETNS, 0);
  }
  __builtin_memcpy(tuple.ipv6.saddr, &of->remote, sizeof of->remote);
  __builtin_memcpy(tuple.ipv6.daddr, &of->local, sizeof of->local);
  tuple.ipv6.sport = of->remote_port;
  tuple.ipv6.dport = of->local_port;
  return bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv6, BPF_F_CURRENT_NETNS, 0);
}

static __always_inline __u32 admit(struct fp_splice_sock *record, __u64 cookie, struct bpf_sock *sk, __u32 own) {
  const struct sock *raw = (const struct sock *)record->sk;
  const struct file *file = file_of(raw);
  if (!own && file == NULL) return FP_SPLICE_ADMISSION_NOT_ACCEPTED;
  if (!own && blocks(0, (__u64)file)) return FP_SPLICE_ADMISSION_BLOCKING;
  if (bpf_map_update_elem(&splice_members, &cookie, sk, BPF_ANY) != 0) return FP_SPLICE_ADMISSION_REFUSED;
  record->file = (__u64)file;
  record->psock = (__u64)psock_of(raw);
  record->pressure = (__u64)pressure_of(raw);
  record->own = own;
  record->member = 1;
  return FP_SPLICE_ADMISSION_DONE;
}

static __always_inline void count_admission(__u32 result) {
  if (result == FP_SPLICE_ADMISSION_DONE) splice_count(FP_SPLICE_MEMBER_ADDED, 0);
  if (result == FP_SPLICE_ADMISSION_NOT_ACCEPTED) splice_count(FP_SPLICE_MEMBER_NOT_YET, 0);
  if (result == FP_SPLICE_ADMISSION_BLOCKING) splice_count(FP_SPLICE_MEMBER_BLOCKING, 0);
  if (result == FP_SPLICE_ADMISSION_REFUSED) splice_count(FP_SPLICE_MEMBER_REFUSED, 0);
}

// Another route takes the place of the one before as a whole: messages on their way keep the one they found.
static __always_inline __u32 give_route(struct fp_splice_sock *record, struct bpf_sock *sk,
                                        struct fp_splice_route *route) {
  bpf_sk_storage_delete(&splice_routes, sk);
  record->route = FP_SPLICE_NOWHERE;
  if (route->kind == FP_SPLICE_NOWHERE) return FP_SPLICE_ADMISSION_DONE;
  if (route->kind == FP_SPLICE_HOP) record->hops = 1;
  route->base_seq = record->base_seq;
  route->hops = record->hops;
  if (!bpf_sk_storage_get(&splice_routes, sk, route, BPF_SK_STORAGE_GET_F_CREATE)) return FP_SPLICE_ADMISSION_REFUSED;
  record->far = route->target.cookie;
  record->pair = route->pair;
  record->direction = route->direction;
  record->generation = route->generation;
  record->route = route->kind;
  return FP_SPLICE_ADMISSION_DONE;
}

// Whether no message of the sender's can be between its program, which saw a route, and the queue of its reader: the
// call that sends it holds the sender's psock until it is there, as each map does that the sender is in.
static __always_inline int sends_nothing(__u64 cookie, int seated) {
  const struct fp_splice_sock *record = bpf_map_lookup_elem(&splice_socks, &cookie);
  if (!record) return 1;  // it has closed
  const struct sock *sk = (const struct sock *)record->sk;
  const struct sk_psock *psock = psock_of(sk);
  if (!psock) return 1;
  int holders = BPF_CORE_READ(psock, refcnt.refs.counter);
  if ((__u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) != cookie) return 1;
  return holders == (record->member ? 1 + seated : 0);
}

// Out of the maps, which gives the socket TCP's own functions back; what waits in its psock would be lost with it. In
// this order: its sender has no route since before, so once that one is in no call nothing can come any more.
static __always_inline __u32 leave(const struct fp_splice_ask *ask, struct fp_splice_sock *record, __u64 cookie,
                                   struct bpf_sock *sk) {
  if (!record->member) return FP_SPLICE_ADMISSION_DONE;
  __u32 seat = ask->seat;
  if (!sends_nothing(ask->sender, seat != FP_SPLICE_NO_SEAT)) return FP_SPLICE_ADMISSION_BUSY;
  const struct sk_psock *psock = psock_of((const struct sock *)record->sk);
  if (psock && has_waiting(psock)) return FP_SPLICE_ADMISSION_BUSY;
  // One that is closing has left the map by itself, and keeps its route until it has told of what it left unread.
  if (bpf_map_delete_elem(&splice_members, &cookie) != 0) return FP_SPLICE_ADMISSION_REFUSED;
  if (seat != FP_SPLICE_NO_SEAT) bpf_map_delete_elem(&splice_seats, &seat);
  bpf_sk_storage_delete(&splice_routes, sk);
  record->route = FP_SPLICE_NOWHERE;
  record->member = 0;
  record->psock = 0;
  splice_count(FP_SPLICE_MEMBER_LEFT, 0);
  return FP_SPLICE_ADMISSION_DONE;
}

static __always_inline __u32 grant(const struct fp_splice_ask *ask, struct fp_splice_sock *record, __u64 cookie,
                                   struct bpf_sock *sk) {
  const struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
  if (!tp || (__u64)tp->inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter != cookie) {
    return FP_SPLICE_ADMISSION_UNKNOWN;
  }
  if (ask->what == FP_SPLICE_ASK_LEAVE) return leave(ask, record, cookie, sk);
  if (ask->what == FP_SPLICE_ASK_ROUTE) {
    struct fp_splice_route route = ask->route;
    return give_route(record, sk, &route);
  }
  __u32 result = FP_SPLICE_ADMISSION_DONE;
  if (!record->member) {
    result = admit(record, cookie, sk, ask->own);
    count_admission(result);
  }
  __u32 seat = ask->seat;
  if (result != FP_SPLICE_ADMISSION_DONE || seat == FP_SPLICE_NO_SEAT) return result;
  return bpf_map_update_elem(&splice_seats, &seat, sk, BPF_ANY) == 0 ? result : FP_SPLICE_ADMISSION_REFUSED;
}

SEC("tc")
int splice_admit(struct __sk_buff *skb) {
  const struct fp_splice_ask *ask = (const void *)(long)skb->data;
  if ((const void *)(ask + 1) > (const void *)(long)skb->data_end) return FP_SPLICE_ADMISSION_UNKNOWN;
  __u64 cookie = ask->cookie;
  struct fp_splice_sock *record = bpf_map_lookup_elem(&splice_socks, &cookie);
  if (!record) return FP_SPLICE_ADMISSION_UNKNOWN;
  if (ask->what == FP_SPLICE_ASK_MEMBER && record->member && ask->seat == FP_SPLICE_NO_SEAT) {
    return FP_SPLICE_ADMISSION_DONE;
  }
  struct bpf_sock *sk = find(skb, &record->tuple);
  if (!sk) return FP_SPLICE_ADMISSION_UNKNOWN;
  __u32 result = grant(ask, record, cookie, sk);
  bpf_sk_release(sk);
  return result;
}

// A redirect that was chosen is asked for here. The program returns SK_PASS after it: the kernel redirects if the
// helper has set a target, and passes if it has not.
static __always_inline int redirect(struct sk_msg_md *msg, const struct fp_splice_route *route) {
  __u64 target = route->target.cookie;
  return bpf_msg_redirect_hash(msg, &splice_members, &target, BPF_F_INGRESS) == SK_PASS;
}

static __always_inline __u32 send_hop(int direct, struct sk_msg_md *msg, struct fp_splice_sock *self,
                                      const struct fp_splice_route *route, const struct tcp_sock *sender) {
  __u32 size = msg->size;
  if (splice_bulk) {
    struct fp_splice_sock *peer = bpf_map_lookup_elem(&splice_socks, &self->peer);
    if (peer) peer->since_turn = 0;
  }
  __u32 reason = choose_hop(direct, route, self->since_turn, &self->queued, sender, size);
  if (reason != FP_SPLICE_REDIRECTED_HOP) return reason;
  if (!redirect(msg, route)) return FP_SPLICE_PASS_GONE;
  self->hop_bytes += size;
  self->since_turn += size;
  self->queued += 1;
  return reason;
}

static __always_inline struct fp_splice_sock *record_of(int direct, const struct tcp_sock *tp) {
  __u64 cookie = cookie_of(direct, &tp->inet_conn.icsk_inet.sk);
  return bpf_map_lookup_elem(&splice_socks, &cookie);
}

// A seat may have been given to another app since the pair was looked at. The generation changes before that, so it is
// looked at again, and the target then asked for by name.
static __always_inline __u32 redirect_to_seat(struct sk_msg_md *msg, const struct fp_splice_route *route,
                                              const struct fp_splice_way *way) {
  __u32 seat = FP_SPLICE_SEAT(route->pair, (route->direction ^ 1) & 1);
  if (bpf_msg_redirect_map(msg, &splice_seats, seat, BPF_F_INGRESS) != SK_PASS) return FP_SPLICE_PASS_GONE;
  if (way->generation == route->generation || redirect(msg, route)) return FP_SPLICE_REDIRECTED_JOINED;
  return FP_SPLICE_DROPPED_ENDED;
}

// After a message was handed over: the next ones pass if it is one of a flood. Looks at the other direction's line of
// the cache seldom.
static __always_inline void look_for_flood(struct fp_splice_way *way, const struct fp_splice_way *other) {
  if (splice_floods || way->messages % FP_SPLICE_FLOOD_MESSAGES != 0) return;
  __u64 answers = other->messages, bytes = way->redirected;
  if (answers - way->seen_other < FP_SPLICE_FLOOD_ANSWERS &&
      bytes - way->seen_redirected < FP_SPLICE_FLOOD_MESSAGES * FP_SPLICE_FLOOD_BYTES) {
    way->on_tcp = 1;
  }
  way->seen_other = answers;
  way->seen_redirected = bytes;
}

static __always_inline __u32 send_joined(int direct, struct sk_msg_md *msg, const struct fp_splice_route *route,
                                         struct fp_splice_pair *pair, const struct tcp_sock *sender) {
  struct fp_splice_way *way = &pair->ways[route->direction & 1];
  __u32 size = msg->size;
  __u64 hop_bytes = 0, forwarded = way->forwarded;
  if (way->generation != route->generation) return FP_SPLICE_PASS_NOT_OFFERED;
  if (way->on_tcp) return FP_SPLICE_PASS_ON_TCP;
  if (route->hops) {
    const struct fp_splice_sock *self = record_of(direct, sender);
    if (!self) return FP_SPLICE_PASS_UNKNOWN;
    hop_bytes = self->hop_bytes;
  }
  __u32 reason = choose_joined(direct, route, hop_bytes, forwarded, &way->queued, sender, size);
  if (reason == FP_SPLICE_REDIRECTED_JOINED) reason = redirect_to_seat(msg, route, way);
  if (reason == FP_SPLICE_REDIRECTED_JOINED) {
    way->redirected += size;
    way->messages += 1;
    way->queued += 1;
    look_for_flood(way, &pair->ways[(route->direction ^ 1) & 1]);
  }
  way->path = reason;
  return reason;
}

// Whether the socket's app has not shut its side.
static __always_inline int may_send(const struct bpf_sock *sk) {
  return sk->state == BPF_TCP_ESTABLISHED || sk->state == BPF_TCP_CLOSE_WAIT;
}

// The path of a message, and why: the cell of a joined pair keeps it, of others the record.
static __always_inline __u32 send_on(int direct, struct sk_msg_md *msg, struct bpf_sock *sk,
                                     const struct tcp_sock *sender) {
  const struct fp_splice_route *route = bpf_sk_storage_get(&splice_routes, sk, NULL, 0);
  __u32 reason = FP_SPLICE_REASON_COUNT;
  if (!splice_enabled) reason = FP_SPLICE_PASS_OFF;
  else if (!may_send(sk)) reason = FP_SPLICE_PASS_SHUT;
  if (route && route->kind == FP_SPLICE_JOINED && reason == FP_SPLICE_REASON_COUNT) {
    __u32 at = route->pair;
    struct fp_splice_pair *pair = bpf_map_lookup_elem(&splice_pairs, &at);
    if (!pair) return FP_SPLICE_PASS_NOT_OFFERED;
    return send_joined(direct, msg, route, pair, sender);
  }
  struct fp_splice_sock *self = record_of(direct, sender);
  if (!self) return FP_SPLICE_PASS_UNKNOWN;
  if (reason == FP_SPLICE_REASON_COUNT) {
    reason = route ? send_hop(direct, msg, self, route, sender) : FP_SPLICE_PASS_NOT_OFFERED;
  }
  self->path = reason;
  return reason;
}

static __always_inline int choose(int direct, struct sk_msg_md *msg) {
  struct bpf_sock *sk = msg->sk;
  const struct tcp_sock *sender = sk ? tcp_of(direct, sk) : NULL;
  if (!sender) return SK_PASS;
  __u32 size = msg->size, reason = send_on(direct, msg, sk, sender);
  splice_count(reason, size);
  return reason == FP_SPLICE_DROPPED_ENDED ? SK_DROP : SK_PASS;
}

// The same program for kernels with bpf_rdonly_cast and without: one of them is loaded.

SEC("sk_msg")
int splice_msg(struct sk_msg_md *msg) { return choose(1, msg); }

SEC("sk_msg")
int splice_msg_probing(struct sk_msg_md *msg) { return choose(0, msg); }
