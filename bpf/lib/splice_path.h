// The rule by which a message chooses its path. Why no byte overtakes another one:
//
// The kernel lets a reader have redirected messages before what is in its TCP queue. So leaving the short-circuit is
// always in order: what was redirected is older, and is read first. Entering it is in order when no older byte of the
// direction is on the TCP path any more, that is when all of them were read by the app. This is decided anew for every
// message, from sequence numbers alone and without any state that could be wrong:
//
//   hop     (app and daemon, one connection): what the sender ever gave to TCP was read by the receiver, that is
//           write_seq == copied_seq of the other end.
//   joined  (app to app, past the daemon): what the sender ever gave to its connection, by TCP or by a hop, is what the
//           daemon says to have handed on completely (so it was read on the near connection), and what the daemon gave
//           to TCP on the far connection was read by the far app (write_seq of the daemon's far socket == copied_seq of
//           the app's).
//
// Redirected bytes do not move write_seq, so the condition stays true while nothing else happens, and one passed
// message makes it false until the reader has caught up.
//
// Memory: a redirect does not block, and is not held against the receive buffer. Over the budget of unread bytes, or of
// messages since the reader had read them all, a message passes, and TCP's flow control stops the sender.
#pragma once
#include "fp_splice.h"
#include "lib/kernel_sock.h"
#include "lib/splice_maps.h"

// A socket that a route names, at hand: what was read of it counts if is_still() afterwards.
struct end {
  const struct tcp_sock *tp;
  __u64 cookie;
};

static __always_inline struct end end_at(int direct, const struct fp_splice_end *of) {
  struct end end = {KERNEL_AT(direct, struct tcp_sock, of->sk), of->cookie};
  return end;
}

static __always_inline __u8 shut_of(int direct, const struct end *end) {
  return KERNEL_READ(direct, end->tp, inet_conn.icsk_inet.sk.sk_shutdown);
}

static __always_inline int is_still(int direct, const struct end *end) {
  return (__u64)KERNEL_READ(direct, end->tp, inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter) == end->cookie;
}

// The other end of a hop is alive, and has read all that TCP ever got of the sender.
static __always_inline __u32 against_near(int direct, const struct end *near, __u32 write_seq) {
  __u32 copied = KERNEL_READ(direct, near->tp, copied_seq);
  __u8 shut = shut_of(direct, near);
  if (!is_still(direct, near)) return FP_SPLICE_PASS_NO_PEER;
  // A daemon that has closed, or died, has shut both; from then on TCP answers as it would have.
  if (shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  return copied == write_seq ? FP_SPLICE_REASON_COUNT : FP_SPLICE_PASS_UNREAD_TCP;
}

// The far app's connection with the daemon is shut, or still carries bytes to it. A daemon that has closed, or died, is
// known by its end of stream there; what comes before that it might have handed on itself.
static __always_inline __u32 against_far(int direct, const struct end *daemon, const struct end *app) {
  __u32 written = KERNEL_READ(direct, daemon->tp, write_seq);
  __u32 copied = KERNEL_READ(direct, app->tp, copied_seq);
  __u8 shut = shut_of(direct, app);
  if (!is_still(direct, app) || !is_still(direct, daemon)) return FP_SPLICE_PASS_NO_PEER;
  if (shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  return written == copied ? FP_SPLICE_REASON_COUNT : FP_SPLICE_PASS_TO_APP;
}

// What the kernel knows of sender and reader that redirected bytes would not serve.
static __always_inline __u32 against_habits(int direct, const struct tcp_sock *sender, const struct end *reader,
                                            const struct fp_splice_route *route) {
  unsigned long zero_copy = 1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);
  unsigned long flags = KERNEL_READ(direct, sender, inet_conn.icsk_inet.sk.__sk_common.skc_flags);
  if (flags & zero_copy) return FP_SPLICE_PASS_SENDER;
  if (route->own_target) return FP_SPLICE_REASON_COUNT;
  if (KERNEL_READ(direct, reader->tp, inet_conn.icsk_inet.sk.sk_rcvlowat) > 1) return FP_SPLICE_PASS_READER;
  if (blocks(direct, route->file)) return FP_SPLICE_PASS_READER;
  return FP_SPLICE_REASON_COUNT;
}

// What a socket without a byte waiting is given however short memory is: TCP's least receive buffer, by default.
#define KERNEL_RMEM_MIN 4096

// Whether `size` more bytes may wait at the reader, as one more message.
static __always_inline __u32 against_memory(int direct, const struct end *reader, const struct fp_splice_route *route,
                                            volatile __u32 *queued, __u32 size) {
  if (size > splice_budget) return FP_SPLICE_DEMOTED_SLOW;
  __u32 unread = unread_of(direct, &reader->tp->inet_conn.icsk_inet.sk, route->psock);
  if (unread > splice_budget - size) return FP_SPLICE_DEMOTED_SLOW;
  if (unread == 0) *queued = 0;
  if (*queued >= FP_SPLICE_MESSAGES_MAX) return FP_SPLICE_DEMOTED_SLOW;
  if (unread == 0 && size <= KERNEL_RMEM_MIN) return FP_SPLICE_REASON_COUNT;
  if (under(direct, route->pressure)) return FP_SPLICE_DEMOTED_MEMORY;
  return FP_SPLICE_REASON_COUNT;
}

// Of a sender that may send, by `forwarded`: the bytes of this direction that the daemon says to have handed on; read
// before the rest, as what it wrote for them is then seen as well.
static __always_inline __u32 choose_joined(int direct, const struct fp_splice_route *route, __u64 hop_bytes,
                                           __u64 forwarded, volatile __u32 *queued, const struct tcp_sock *sender,
                                           __u32 size) {
  struct end daemon = end_at(direct, &route->far_daemon);
  struct end app = end_at(direct, &route->target);
  __u32 sent = KERNEL_READ(direct, sender, write_seq) - route->base_seq + (__u32)hop_bytes;
  // Less than 4 GiB can be on the way, so the low halves tell.
  if (sent != (__u32)forwarded) return FP_SPLICE_PASS_IN_DAEMON;
  __u32 reason = against_far(direct, &daemon, &app);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_habits(direct, sender, &app, route);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_memory(direct, &app, route, queued, size);
  return reason == FP_SPLICE_REASON_COUNT ? FP_SPLICE_REDIRECTED_JOINED : reason;
}

static __always_inline __u32 choose_hop(int direct, const struct fp_splice_route *route, __u64 since_turn,
                                        volatile __u32 *queued, const struct tcp_sock *sender, __u32 size) {
  struct end near = end_at(direct, &route->near);
  __u32 reason = against_near(direct, &near, KERNEL_READ(direct, sender, write_seq));
  if (reason != FP_SPLICE_REASON_COUNT) return reason;
  if (splice_bulk && since_turn + size > splice_bulk) return FP_SPLICE_DEMOTED_BULK;
  reason = against_habits(direct, sender, &near, route);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_memory(direct, &near, route, queued, size);
  return reason == FP_SPLICE_REASON_COUNT ? FP_SPLICE_REDIRECTED_HOP : reason;
}
