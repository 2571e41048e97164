// What the programs of bpf/ and the daemon share about addresses, captured connections and services. Compiles as BPF C
// and as C++20. Addresses and ports are in network byte order. There is one form of an address: sixteen bytes, IPv4 as
// ::ffff:a.b.c.d, so that a mapped and a plain IPv4 address are the same key.
#pragma once
#include <linux/types.h>

// Changes with any change of what a pinned map holds: at start the pinned maps of another version are replaced.
#define FP_ABI_VERSION 1

#define FP_COUNTERS_MAX 256

struct fp_addr {
  __u32 w[4];
};

// An address and a port; also the key of a service.
struct fp_endpoint_addr {
  struct fp_addr addr;
  __u16 port;
  __u8 proto;  // IPPROTO_TCP or IPPROTO_UDP
  __u8 pad;
};

// What a client socket dialled and where it was sent instead; storage of the client's socket.
struct fp_dialled {
  struct fp_endpoint_addr original;
  struct fp_endpoint_addr target;
  __u32 how;
};

// A socket that dialled the capture listener itself has no original: an entry of its four-tuple would be another's.
enum fp_how { FP_HOW_BALANCED, FP_HOW_CAPTURED, FP_HOW_DIRECT };

// The four-tuple of a captured connection, as both of its ends see it. Both ends are in one network namespace.
struct fp_flow {
  __u64 netns;  // cookie
  struct fp_addr client;
  struct fp_addr server;
  __u16 client_port;
  __u16 server_port;
  __u32 pad;
};

// Where a connection that was captured was going; storage of the accepted socket, and the value of the flow's entry.
struct fp_original {
  struct fp_endpoint_addr dst;
};

// A process whose sockets are left alone, by its id in the first pid namespace; the value says how the daemon knows it.
struct fp_own {
  __u64 pid_namespace;  // inode
  __u32 pid;
  __u32 pad;
};

// Argument of the program that registers a process.
struct fp_own_request {
  struct fp_own own;
  __u32 leave;  // 1: take the calling process out
  __u32 pad;
};
