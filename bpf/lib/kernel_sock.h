// The few fields of the kernel's sockets that the short-circuit reads, as CO-RE fragments: libbpf puts in the offsets
// of the running kernel. Reading needs CAP_PERFMON.
//
// A peer's socket is known by an address that was written down when it was established. TCP sockets live in a
// SLAB_TYPESAFE_BY_RCU cache, bpf_probe_read_kernel() never faults, and the cookie read along with the fields tells
// whether the address still belongs to that very socket.
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  __s64 counter;
} atomic64_t;

typedef struct {
  int counter;
} atomic_t;

struct proto {
  const unsigned long *memory_pressure;
};

struct sock_common {
  struct proto *skc_prot;
  unsigned long skc_flags;
  atomic64_t skc_cookie;
};

struct file {
  unsigned int f_flags;
};

struct socket {
  struct file *file;
};

struct sock {
  struct sock_common __sk_common;
  struct {
    atomic_t rmem_alloc;
  } sk_backlog;
  int sk_rcvlowat;
  __u8 sk_shutdown;
  void *sk_user_data;
  struct socket *sk_socket;
};

struct inet_sock {
  struct sock sk;
};

struct inet_connection_sock {
  struct inet_sock icsk_inet;
};

struct tcp_sock {
  struct inet_connection_sock inet_conn;
  __u32 copied_seq;
  __u32 write_seq;
  _Bool is_mptcp;  // with CONFIG_MPTCP
};

struct sk_psock {
  __u32 msg_tot_len;
};

#pragma clang attribute pop

enum sock_flags { SOCK_ZEROCOPY = 0 };  // the running kernel's value is put in

#define KERNEL_O_NONBLOCK 04000
#define KERNEL_RCV_SHUTDOWN 1
#define KERNEL_SEND_SHUTDOWN 2
// The low bits of sk_user_data are flags (SK_USER_DATA_PTRMASK).
#define KERNEL_USER_DATA_MASK 7UL

static __always_inline __u64 cookie_of(const struct sock *sk) {
  return (__u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

// Subflows of MPTCP have crashed kernels as members (6.1.155); later ones refuse them.
static __always_inline int is_subflow(const struct tcp_sock *tp) {
  return bpf_core_field_exists(tp->is_mptcp) && BPF_CORE_READ(tp, is_mptcp);
}

static __always_inline const struct sk_psock *psock_of(const struct sock *sk) {
  return (const struct sk_psock *)((unsigned long)BPF_CORE_READ(sk, sk_user_data) & ~KERNEL_USER_DATA_MASK);
}

// Bytes that were handed to the socket and that its app has not read; from 6.6.128, 6.12.75 and 6.18.14 on the kernel
// counts them itself, before it charged them to the receive buffer along with what TCP holds: never less.
static __always_inline __u32 unread_of(const struct sock *sk, const struct sk_psock *psock) {
  if (bpf_core_field_exists(psock->msg_tot_len)) return BPF_CORE_READ(psock, msg_tot_len);
  return (__u32)BPF_CORE_READ(sk, sk_backlog.rmem_alloc.counter);
}

// Where TCP notes that it is short of memory; one place for the family.
static __always_inline const unsigned long *pressure_of(const struct sock *sk) {
  return BPF_CORE_READ(sk, __sk_common.skc_prot, memory_pressure);
}

static __always_inline int under(const unsigned long *pressure) {
  unsigned long since = 0;
  bpf_probe_read_kernel(&since, sizeof since, pressure);
  return since != 0;
}

// A socket has one file all its life; none: no process has it (yet).
static __always_inline const struct file *file_of(const struct sock *sk) {
  return BPF_CORE_READ(sk, sk_socket, file);
}

static __always_inline int blocks(const struct file *file) {
  return (BPF_CORE_READ(file, f_flags) & KERNEL_O_NONBLOCK) == 0;
}
