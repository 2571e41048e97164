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
//           daemon says to have handed on completely, and what the daemon gave to TCP on the far connection was read by
//           the far app (write_seq of the daemon's far socket == copied_seq of the app's).
//
// Redirected bytes do not move write_seq, so the condition stays true while nothing else happens, and one passed
// message makes it false until the reader has caught up.
//
// Memory: a redirect does not block, and is not held against the receive buffer. Over the budget of unread bytes a
// message passes, and TCP's flow control stops the sender.
#pragma once
#include "fp_splice.h"
#include "lib/kernel_sock.h"
#include "lib/splice_maps.h"

static __always_inline const struct sock *sock_of(const struct fp_splice_end *end) {
  return (const struct sock *)end->sk;
}

static __always_inline __u32 copied_seq_of(const struct fp_splice_end *end) {
  const struct tcp_sock *tp = (const struct tcp_sock *)end->sk;
  return BPF_CORE_READ(tp, copied_seq);
}

static __always_inline __u32 write_seq_of(const struct fp_splice_end *end) {
  const struct tcp_sock *tp = (const struct tcp_sock *)end->sk;
  return BPF_CORE_READ(tp, write_seq);
}

static __always_inline __u8 shut_of(const struct fp_splice_end *end) {
  const struct sock *sk = sock_of(end);
  return BPF_CORE_READ(sk, sk_shutdown);
}

// Asked after what was read of it, so that the answer holds for that.
static __always_inline int is_still(const struct fp_splice_end *end) { return cookie_of(sock_of(end)) == end->cookie; }

// The sender's own connection: alive, and all that TCP ever got was read by the other end.
static __always_inline __u32 against_near(const struct fp_splice_route *route, __u32 write_seq) {
  __u32 copied_seq = copied_seq_of(&route->near);
  __u8 shut = shut_of(&route->near);
  if (!is_still(&route->near)) return FP_SPLICE_PASS_NO_PEER;
  // A daemon that has closed, or died, has shut both; from then on TCP answers as it would have.
  if (shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  return copied_seq == write_seq ? FP_SPLICE_REASON_COUNT : FP_SPLICE_PASS_UNREAD_TCP;
}

// The far app's connection with the daemon is shut, or still carries bytes to it.
static __always_inline __u32 against_far(const struct fp_splice_route *route) {
  __u32 written = write_seq_of(&route->far_daemon);
  __u32 copied = copied_seq_of(&route->target);
  __u8 far_shut = shut_of(&route->target), daemon_shut = shut_of(&route->far_daemon);
  if (!is_still(&route->target) || !is_still(&route->far_daemon)) return FP_SPLICE_PASS_NO_PEER;
  if (far_shut & KERNEL_RCV_SHUTDOWN || daemon_shut & KERNEL_SEND_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  return written == copied ? FP_SPLICE_REASON_COUNT : FP_SPLICE_PASS_TO_APP;
}

// What the kernel knows of sender and reader that redirected bytes would not serve.
static __always_inline __u32 against_habits(const struct sock *sender, const struct fp_splice_route *route) {
  unsigned long zero_copy = 1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);
  if (sender->__sk_common.skc_flags & zero_copy) return FP_SPLICE_PASS_SENDER;
  if (route->own_target) return FP_SPLICE_REASON_COUNT;
  const struct sock *reader = sock_of(&route->target);
  if (BPF_CORE_READ(reader, sk_rcvlowat) > 1) return FP_SPLICE_PASS_READER;
  if (blocks((const struct file *)route->file)) return FP_SPLICE_PASS_READER;
  return FP_SPLICE_REASON_COUNT;
}

// Whether `size` more bytes may wait at the reader.
static __always_inline __u32 against_memory(const struct fp_splice_route *route, __u32 size) {
  if (size > splice_budget) return FP_SPLICE_DEMOTED_SLOW;
  __u32 unread = unread_of(sock_of(&route->target), (const struct sk_psock *)route->psock);
  if (unread > splice_budget - size) return FP_SPLICE_DEMOTED_SLOW;
  if (under((const unsigned long *)route->pressure)) return FP_SPLICE_DEMOTED_MEMORY;
  return FP_SPLICE_REASON_COUNT;
}

// `forwarded`: of a joined one, the bytes of this direction that the daemon says to have handed on.
static __always_inline __u32 choose_path(const struct fp_splice_sock *self, const struct fp_splice_route *route,
                                         __u64 forwarded, const struct tcp_sock *tp, __u32 size) {
  const struct sock *sk = &tp->inet_conn.icsk_inet.sk;
  __u32 write_seq = tp->write_seq;
  __u32 reason;
  if (sk->sk_shutdown & KERNEL_SEND_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  reason = against_near(route, write_seq);
  if (reason != FP_SPLICE_REASON_COUNT) return reason;
  if (route->kind == FP_SPLICE_JOINED) {
    // Less than 4 GiB can be on the way, so the low halves tell.
    if (write_seq - self->base_seq + (__u32)self->hop_bytes != (__u32)forwarded) return FP_SPLICE_PASS_IN_DAEMON;
    reason = against_far(route);
    if (reason != FP_SPLICE_REASON_COUNT) return reason;
  } else if (splice_bulk && self->since_turn + size > splice_bulk) {
    return FP_SPLICE_DEMOTED_BULK;
  }
  reason = against_habits(sk, route);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_memory(route, size);
  if (reason != FP_SPLICE_REASON_COUNT) return reason;
  return route->kind == FP_SPLICE_JOINED ? FP_SPLICE_REDIRECTED_JOINED : FP_SPLICE_REDIRECTED_HOP;
}
