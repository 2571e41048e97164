// What bpf/splice.bpf.c and userspace/fastpath/splice.h share: keys, records and the list of verdicts of the
// short-circuit of local connections. A socket is named by its socket cookie, which no other socket of the host ever
// has again; a connection by its four-tuple as one end sees it, with the cookie of its network namespace.
#pragma once
#include <linux/types.h>

#include "fp_types.h"

#define FP_SPLICE_SOCKS_MAX 65536
#define FP_SPLICE_PAIRS_MAX 16384

// Why a message took its path. The order is the layout of the counters' map. Columns: name of the counter, sentence.
// clang-format off
#define FP_SPLICE_REASONS(X) \
  X(REDIRECTED_HOP,    "redirected_hop",    "handed to the other end of the same connection") \
  X(REDIRECTED_JOINED, "redirected_joined", "handed to the app at the far end, past the daemon") \
  X(PASS_OFF,          "pass_off",          "the short-circuit is switched off") \
  X(PASS_UNKNOWN,      "pass_unknown",      "a member without a record") \
  X(PASS_NOT_OFFERED,  "pass_not_offered",  "the daemon has not offered this connection") \
  X(PASS_NO_PEER,      "pass_no_peer",      "the other end is not here, or has closed") \
  X(PASS_SHUT,         "pass_shut",         "one of the ends has shut this direction") \
  X(PASS_SENDER,       "pass_sender",       "the sender has SO_ZEROCOPY, whose notifications only TCP sends") \
  X(PASS_READER,       "pass_reader",       "the reader has SO_RCVLOWAT or blocks; redirected bytes heed neither") \
  X(PASS_UNREAD_TCP,   "pass_unread_tcp",   "older bytes of this direction are still in TCP") \
  X(PASS_IN_DAEMON,    "pass_in_daemon",    "older bytes of this direction are still with the daemon") \
  X(PASS_TO_APP,       "pass_to_app",       "older bytes are still on their way from the daemon to the far app") \
  X(DEMOTED_SLOW,      "demoted_slow",      "the reader is behind by the budget: back to TCP, which has flow control") \
  X(DEMOTED_BULK,      "demoted_bulk",      "a flow in one direction: back to TCP, which is faster for it") \
  X(DEMOTED_MEMORY,    "demoted_memory",    "TCP is short of memory") \
  X(PASS_ON_TCP,       "pass_on_tcp",       "the pair goes back to TCP for good") \
  X(PASS_GONE,         "pass_gone",         "the target left between look-up and redirect") \
  X(DROPPED_ENDED,     "dropped_ended",     "the pair ended, and its reader closed, while the message was on its way") \
  X(RECORD_ADDED,      "record_added",      "an end of a connection to an opted-in service was noted") \
  X(RECORD_REFUSED,    "record_refused",    "it could not be noted: the table is full") \
  X(RECORD_LEFT,       "record_left",       "an end that was noted closed") \
  X(MEMBER_ADDED,      "member_added",      "a socket became a member") \
  X(MEMBER_NOT_YET,    "member_not_yet",    "a socket was not accepted yet by its app") \
  X(MEMBER_BLOCKING,   "member_blocking",   "a blocking socket was left alone") \
  X(MEMBER_REFUSED,    "member_refused",    "the kernel did not let a socket become a member") \
  X(MEMBER_LEFT,       "member_left",       "a socket is none any more, but as it was made")
// clang-format on

#define FP_SPLICE_REASON_ID_(id, name, text) FP_SPLICE_##id,
enum fp_splice_reason { FP_SPLICE_REASONS(FP_SPLICE_REASON_ID_) FP_SPLICE_REASON_COUNT };

// The four-tuple as one end sees it. Addresses in the one form of fp_types.h, ports in network byte order.
struct fp_splice_tuple {
  __u64 netns;
  struct fp_addr local;
  struct fp_addr remote;
  __u16 local_port;
  __u16 remote_port;
  __u32 family;  // AF_INET also for mapped addresses
};

// Whose ends are noted: by the address that the client dialled. A zero address is a wildcard, which matches connections
// to loopback or from an address to itself only; with port 0 to any port.
struct fp_splice_service {
  __u64 netns;
  struct fp_addr addr;
  __u16 port;
  __u16 pad[3];
};

// One end of a noted connection. Written by the programs alone.
struct fp_splice_sock {
  __u64 sk;              // the kernel's struct sock; what is read of it counts if its cookie is still this one's
  __u64 psock, file, pressure;  // of a member: its struct sk_psock, struct file, and where TCP notes lack of memory
  __u64 peer;            // cookie of the other end, 0: not known (yet)
  __u64 far;             // cookie of the app that it was joined with last
  struct fp_splice_tuple tuple;
  __u64 hop_bytes;       // handed to the other end of the connection
  __u64 since_turn;      // handed over since the other end sent last
  __u32 queued;          // messages handed over since the other end had read them all
  __u32 pad;
  __u32 base_seq;        // write_seq when the connection was established
  __u32 path;            // fp_splice_reason of the last message, FP_SPLICE_REASON_COUNT: none yet, or its pair has it
  __u32 active;          // 1: it dialled
  __u32 member;          // 1: its messages can be redirected, and redirected to it
  __u32 own;             // 1: the daemon's, whose reads are known
  __u32 hops;            // 1: it was a hop once, so that hop_bytes may change
  __u32 route;           // FP_SPLICE_*: what it was offered last
  __u32 pair, direction, generation;  // of a joined one, as in its route
};

#define FP_SPLICE_ADMISSIONS(X) \
  X(DONE,         "done") \
  X(UNKNOWN,      "the connection is gone, or is none of an opted-in service") \
  X(NOT_ACCEPTED, "its app has not accepted it yet") \
  X(BLOCKING,     "its app reads it as a blocking socket") \
  X(REFUSED,      "the kernel refused: the table is full, it has a ULP, or another sockmap has it") \
  X(BUSY,         "bytes are on their way to it, or it has some to read")
#define FP_SPLICE_ADMISSION_ID_(id, text) FP_SPLICE_ADMISSION_##id,
enum fp_splice_admission_result { FP_SPLICE_ADMISSIONS(FP_SPLICE_ADMISSION_ID_) FP_SPLICE_ADMISSION_COUNT };

// A socket as programs reach it: what is read at `sk` counts if the cookie found there is still this one.
struct fp_splice_end {
  __u64 sk;
  __u64 cookie;
};

// Where the messages of an offered socket may go: in the socket's storage, so that its messages find it without a
// search. Made from records and constant (a change is another one, and readers keep the old one as long as they look at
// it): the programs need no look-up of the other sockets.
#define FP_SPLICE_NOWHERE 0
#define FP_SPLICE_HOP 1     // to the other end of its connection
#define FP_SPLICE_JOINED 2  // to the app at the far end
// In the order of use: a joined message reads two lines of the cache.
struct fp_splice_route {
  __u32 kind;
  __u32 pair;        // of a joined one: its cell of the pairs' array
  __u32 direction;   // 0: the downstream app sends, 1: the upstream app sends
  __u32 generation;  // of that cell
  __u32 base_seq;    // the sender's, as in its record
  __u32 hops;        // 1: the sender's record has hop_bytes that count
  __u32 own_target;  // 1: the target is the daemon's
  __u32 pad;
  struct fp_splice_end far_daemon;  // of a joined one: the daemon's end of the far app's connection
  struct fp_splice_end target;      // who reads: near, or the far app
  __u64 psock, file, pressure;      // of the target, as in its record
  struct fp_splice_end near;        // the other end of its connection
};
// Of a joined app: its place among those that can be handed messages.
#define FP_SPLICE_SEAT(pair, direction) (2 * (pair) + (direction))
#define FP_SPLICE_NO_SEAT 0xffffffffu

// What the daemon asks of splice_admit, run by BPF_PROG_RUN; the bytes stand in for a packet. About the socket of a
// record: to make it a member; to give it a route, whose base_seq and hops are filled in, or one to nowhere; to make it
// as it was before, once nothing can be lost by it: asked again until it is not FP_SPLICE_ADMISSION_BUSY.
#define FP_SPLICE_ASK_MEMBER 0
#define FP_SPLICE_ASK_ROUTE 1
#define FP_SPLICE_ASK_LEAVE 2
struct fp_splice_ask {
  __u64 cookie;
  __u32 what;
  __u32 own;   // of a member to be: 1: the daemon's
  __u32 seat;  // of an app that is to be joined, before either has a route; FP_SPLICE_NO_SEAT of others
  __u32 pad;
  __u64 sender;  // of one that is to leave: who had a route to it, and has none any more
  struct fp_splice_route route;
};

// One direction of a joined pair, in a line of the cache of its own: what the daemon publishes (plain stores through
// mmap) and what it reads.
struct fp_splice_way {
  volatile __u64 forwarded;      // bytes that the daemon has received from that side and completely handed on
  volatile __u64 redirected;     // bytes that went past the daemon
  volatile __u64 messages;
  // Of which pair this cell is now, the same in both directions. Written before, and read after the rest, so that a
  // message on its way while the cell changes hands does not take the next pair's numbers for its own.
  volatile __u32 generation;
  volatile __u32 path;           // fp_splice_reason of the last message, FP_SPLICE_REASON_COUNT: none yet
  volatile __u32 lost_at_close;  // bytes that the receiver left unread when it closed
  volatile __u32 queued;         // messages since the receiver had read them all
  volatile __u32 on_tcp;         // 1: every message passes from now on
  __u32 pad;
  // When a flood was looked for last: the other direction's messages, and `redirected`.
  volatile __u64 seen_other, seen_redirected;
};

// A message takes about a kilobyte of the kernel's memory (struct sk_msg) besides its bytes, which nobody accounts for:
// so many may wait at a reader, at most, or it is back on TCP, which puts small ones together.
#define FP_SPLICE_MESSAGES_MAX 2048

// So many messages in one direction, of less than so many bytes on the average, with fewer than a sixteenth as many in
// the other, are a flood. Each wakes its reader, where TCP and the daemon on another CPU gather them.
#define FP_SPLICE_FLOOD_MESSAGES 4096
#define FP_SPLICE_FLOOD_BYTES 512
#define FP_SPLICE_FLOOD_ANSWERS (FP_SPLICE_FLOOD_MESSAGES / 16)

// [0]: the downstream app sends, [1]: the upstream app.
struct fp_splice_pair {
  struct fp_splice_way ways[2];
};

struct fp_splice_count {
  __u64 messages;
  __u64 bytes;
};
