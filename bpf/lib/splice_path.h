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
// Redirected bytes do not move write_seq, so the condition stays true while nothing else happens, and one passed message
// makes it false until the reader has caught up.
//
// Memory: a redirect does not block, and is not held against the receive buffer. Over the budget of unread bytes a
// message passes, and TCP's flow control stops the sender.
#pragma once
#include "fp_splice.h"
#include "lib/kernel_sock.h"
#include "lib/splice_maps.h"

struct splice_end {
  const struct sock *sk;
  __u32 copied_seq;
  __u32 write_seq;
  __u8 shut;
};

// Whether the record's socket is still that one; fills in what the rule needs of it.
static __always_inline int look_at(const struct fp_splice_sock *record, __u64 cookie, struct splice_end *end) {
  const struct tcp_sock *tp = (const struct tcp_sock *)record->sk;
  const struct sock *sk = (const struct sock *)tp;
  end->sk = sk;
  end->copied_seq = BPF_CORE_READ(tp, copied_seq);
  end->write_seq = BPF_CORE_READ(tp, write_seq);
  end->shut = BPF_CORE_READ(sk, sk_shutdown);
  return cookie_of(sk) == cookie;
}

// What the kernel knows of the ends that redirected bytes would not serve.
static __always_inline __u32 against_ends(const struct sock *self, const struct sock *reader, __u32 own_reader) {
  if (self->__sk_common.skc_flags & (1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY))) return FP_SPLICE_PASS_SENDER;
  if (own_reader) return FP_SPLICE_REASON_COUNT;
  if (BPF_CORE_READ(reader, sk_rcvlowat) > 1 || blocks(reader)) return FP_SPLICE_PASS_READER;
  return FP_SPLICE_REASON_COUNT;
}

// Whether `size` more bytes may wait at the reader.
static __always_inline __u32 against_memory(const struct sock *reader_sk, __u32 size) {
  if (size > splice_budget || unread_of(reader_sk) > splice_budget - size) return FP_SPLICE_DEMOTED_SLOW;
  if (short_of_memory(reader_sk)) return FP_SPLICE_DEMOTED_MEMORY;
  return FP_SPLICE_REASON_COUNT;
}

static __always_inline __u32 choose_hop(const struct fp_splice_sock *self, const struct fp_splice_sock *peer,
                                        const struct tcp_sock *tp, __u32 size) {
  struct splice_end other;
  if (!look_at(peer, self->peer, &other)) return FP_SPLICE_PASS_NO_PEER;
  if (other.shut & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  if (other.copied_seq != tp->write_seq) return FP_SPLICE_PASS_UNREAD_TCP;
  __u32 reason = against_ends(&tp->inet_conn.icsk_inet.sk, other.sk, peer->own);
  if (reason != FP_SPLICE_REASON_COUNT) return reason;
  if (self->since_turn + size > splice_bulk) return FP_SPLICE_DEMOTED_BULK;
  reason = against_memory(other.sk, size);
  return reason != FP_SPLICE_REASON_COUNT ? reason : FP_SPLICE_REDIRECTED_HOP;
}

// near: the daemon's end of the sender's connection; far: the app that reads; far_daemon: the daemon's end of its one.
static __always_inline __u32 choose_joined(const struct fp_splice_sock *self, const struct fp_splice_sock *near_record,
                                           const struct fp_splice_route *route, __u64 forwarded,
                                           const struct tcp_sock *tp, __u32 size) {
  const struct fp_splice_sock *far = bpf_map_lookup_elem(&splice_socks, &route->target);
  if (!far) return FP_SPLICE_PASS_NO_PEER;
  const struct fp_splice_sock *far_daemon = bpf_map_lookup_elem(&splice_socks, &far->peer);
  if (!far_daemon) return FP_SPLICE_PASS_NO_PEER;
  struct splice_end near_end, far_end, far_daemon_end;
  if (!look_at(near_record, self->peer, &near_end) || !look_at(far, route->target, &far_end) ||
      !look_at(far_daemon, far->peer, &far_daemon_end)) {
    return FP_SPLICE_PASS_NO_PEER;
  }
  // A daemon that has closed, or died, has shut both; from then on TCP answers as it would have.
  if ((near_end.shut | far_end.shut) & KERNEL_RCV_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  if (far_daemon_end.shut & KERNEL_SEND_SHUTDOWN) return FP_SPLICE_PASS_SHUT;
  __u32 write_seq = tp->write_seq;
  if (near_end.copied_seq != write_seq) return FP_SPLICE_PASS_UNREAD_TCP;
  // Less than 4 GiB can be on the way, so the low halves tell.
  if (write_seq - self->base_seq + (__u32)self->hop_bytes != (__u32)forwarded) return FP_SPLICE_PASS_IN_DAEMON;
  if (far_daemon_end.write_seq != far_end.copied_seq) return FP_SPLICE_PASS_TO_APP;
  __u32 reason = against_ends(&tp->inet_conn.icsk_inet.sk, far_end.sk, 0);
  if (reason == FP_SPLICE_REASON_COUNT) reason = against_memory(far_end.sk, size);
  return reason != FP_SPLICE_REASON_COUNT ? reason : FP_SPLICE_REDIRECTED_JOINED;
}
