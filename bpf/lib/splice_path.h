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

static __always_inline const struct sock *sock_of(const struct fp_splice_sock *record) {
  return (const struct sock *)record->sk;
}

static __always_inline __u32 copied_seq_of(const struct fp_splice_sock *record) {
  const struct tcp_sock *tp = (const struct tcp_sock *)record->sk;
  return BPF_CORE_READ(tp, copied_seq);
}

static __always_inline __u32 write_seq_of(const struct fp_splice_sock *record) {
  const struct tcp_sock *tp = (const struct tcp_sock *)record->sk;
  return BPF_CORE_READ(tp, write_seq);
}

static __always_inline __u8 shut_of(const struct fp_splice_sock *record) {
  const struct sock *sk = sock_of(record);
  return BPF_CORE_READ(sk, sk_shutdown);
}

// Asked after what was read of it, so that the answer holds for that.
static __always_inline int is_still(const struct fp_splice_sock *record, __u64 cookie) {
  return cookie_of(sock_of(record)) == cookie;
}

// What the kernel knows of the ends that redirected bytes would not serve.
static __always_inline __u32 against_ends(const struct sock *self, const struct fp_splice_sock *reader) {
  unsigned long zero_copy = 1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);
  if (self->__sk_common.skc_flags & zero_copy) return FP_SPLICE_PASS_SENDER;
  if (reader->own) return FP_SPLICE_REASON_COUNT;
  const struct sock *sk = sock_of(reader);
  if (BPF_CORE_READ(sk, sk_rcvlowat) > 1) return FP_SPLICE_PASS_READER;
  if (blocks((const struct file *)reader->file)) return FP_SPLICE_PASS_READER;
  return FP_SPLICE_REASON_COUNT;
}

// Whether `size` more bytes may wait at the reader.
static __always_inline __u32 against_memory(const struct fp_splice_sock *reader, __u32 size) {
  if (size > splice_budget) return FP_SPLICE_DEMOTED_SLOW;
  __u32 unread = unread_of(sock_of(reader), (const struct sk_psock *)reader->psock);
  if (unread > splice_budget - size) return FP_SPLICE_DEMOTED_SLOW;
  if (under((const unsigned long *)reader->pressure)) return FP_SPLICE_DEMOTED_MEMORY;
  return FP_SPLICE_REASON_COUNT;
}

static __always_inline __u32 choose_hop(const struct fp_splice_sock *self, const struct fp_splice_sock *peer,
                                        const struct tcp_sock *tp, __u32 size) {
  __u32 copied_seq = copied_seq_of(peer);
  __u8 shut = shut_of(peer);
  if (!peer->member || !is_still(peer, self->peer)) return FP_SPLICE_PASS_NO_PEER;
  if (shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  if (copied_seq != tp->write_seq) return FP_SPLICE_PASS_UNREAD_TCP;
  __u32 reason = against_ends(&tp->inet_conn.icsk_inet.sk, peer);
  if (reason != FP_SPLICE_REASON_COUNT) return reason;
  if (splice_bulk && self->since_turn + size > splice_bulk) return FP_SPLICE_DEMOTED_BULK;
  reason = against_memory(peer, size);
  return reason != FP_SPLICE_REASON_COUNT ? reason : FP_SPLICE_REDIRECTED_HOP;
}

// What speaks against handing over to the far app: its connection with the daemon is shut, or still carries bytes.
static __always_inline __u32 against_far(const struct fp_splice_sock *far, __u64 far_cookie,
                                         const struct fp_splice_sock *far_daemon) {
  __u32 written = write_seq_of(far_daemon);
  __u32 copied = copied_seq_of(far);
  __u8 far_shut = shut_of(far), daemon_shut = shut_of(far_daemon);
  if (!far->member || !is_still(far, far_cookie)) return FP_SPLICE_PASS_NO_PEER;
  if (!is_still(far_daemon, far->peer)) return FP_SPLICE_PASS_NO_PEER;
  if (far_shut & KERNEL_RCV_SHUTDOWN || daemon_shut & KERNEL_SEND_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  return written == copied ? FP_SPLICE_REASON_COUNT : FP_SPLICE_PASS_TO_APP;
}

// near: the daemon's end of the sender's connection.
static __always_inline __u32 choose_joined(const struct fp_splice_sock *self, const struct fp_splice_sock *near_end,
                                           const struct fp_splice_route *route, __u64 forwarded,
                                           const struct tcp_sock *tp, __u32 size) {
  const struct fp_splice_sock *far = bpf_map_lookup_elem(&splice_socks, &route->target);
  if (!far) return FP_SPLICE_PASS_NO_PEER;
  const struct fp_splice_sock *far_daemon = bpf_map_lookup_elem(&splice_socks, &far->peer);
  if (!far_daemon) return FP_SPLICE_PASS_NO_PEER;
  __u32 write_seq = tp->write_seq;
  __u32 copied_seq = copied_seq_of(near_end);
  __u8 shut = shut_of(near_end);
  if (!is_still(near_end, self->peer)) return FP_SPLICE_PASS_NO_PEER;
  // A daemon that has closed, or died, has shut both; from then on TCP answers as it would have.
  if (shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  if (copied_seq != write_seq) return FP_SPLICE_PASS_UNREAD_TCP;
  // Less than 4 GiB can be on the way, so the low halves tell.
  if (write_seq - self->base_seq + (__u32)self->hop_bytes != (__u32)forwarded) return FP_SPLICE_PASS_IN_DAEMON;
  __u32 reason = against_far(far, route->target, far_daemon);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_ends(&tp->inet_conn.icsk_inet.sk, far);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_memory(far, size);
  return reason != FP_SPLICE_REASON_COUNT ? reason : FP_SPLICE_REDIRECTED_JOINED;
}
