// The few fields of the kernel's sockets that the short-circuit reads, as CO-RE fragments: libbpf puts in the offsets
// of the running kernel. Reading needs CAP_PERFMON.
//
// A peer's socket is known by an address that was written down when it was established. TCP sockets live in a
// SLAB_TYPESAFE_BY_RCU cache, a read of whatever address never faults, and the cookie read along with the fields tells
// whether the address still belongs to that very socket.
//
// From 6.2 on (bpf_rdonly_cast) such a read is one load, whose fault the kernel catches; before it is a call of
// bpf_probe_read_kernel(), ten times as long. Loads are volatile: their order is part of the rule in splice_path.h.
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

struct timespec64 {
  __s64 tv_sec;
};

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

struct list_head {
  struct list_head *next;
};

typedef struct {
  atomic_t refs;
} refcount_t;

struct sk_psock {
  struct list_head ingress_msg;
  __u32 msg_tot_len;
  refcount_t refcnt;
};

#pragma clang attribute pop

enum sock_flags { SOCK_ZEROCOPY = 0 };  // the running kernel's value is put in

#define KERNEL_O_NONBLOCK 04000
#define KERNEL_RCV_SHUTDOWN 1
#define KERNEL_SEND_SHUTDOWN 2
// The low bits of sk_user_data are flags (SK_USER_DATA_PTRMASK).
#define KERNEL_USER_DATA_MASK 7UL

extern void *bpf_rdonly_cast(const void *at, __u32 btf_id) __ksym __weak;

// What is at that address, taken for a `type`, whose fields KERNEL_READ reads. `direct`, of all that reads: a constant
// of the program, which is only loaded where bpf_rdonly_cast is.
#define KERNEL_AT(direct, type, at) \
  ((direct) ? (const type *)bpf_rdonly_cast((const void *)(at), bpf_core_type_id_kernel(type)) : (const type *)(at))

// A field of at most eight bytes. The pointer is evaluated apart: what it is made of is none of the kernel's.
#define KERNEL_READ(direct, at, field)                                   \
  ({                                                                     \
    typeof(at) at_ = (at);                                               \
    typeof((void)0, (at)->field) value_; /* without const */             \
    if (direct) value_ = *(const volatile typeof(value_) *)&at_->field;  \
    else BPF_CORE_READ_INTO(&value_, at_, field);                        \
    value_;                                                              \
  })

// The socket that a program runs for; a member, so TCP's.
static __always_inline const struct tcp_sock *tcp_of(int direct, struct bpf_sock *sk) {
  return direct ? KERNEL_AT(1, struct tcp_sock, sk) : bpf_skc_to_tcp_sock(sk);
}

static __always_inline __u64 cookie_of(int direct, const struct sock *sk) {
  return (__u64)KERNEL_READ(direct, sk, __sk_common.skc_cookie.counter);
}

// Subflows of MPTCP have crashed kernels as members (6.1.155); later ones refuse them.
static __always_inline int is_subflow(const struct tcp_sock *tp) {
  return bpf_core_field_exists(tp->is_mptcp) && BPF_CORE_READ(tp, is_mptcp);
}

static __always_inline const struct sk_psock *psock_of(const struct sock *sk) {
  return (const struct sk_psock *)((unsigned long)BPF_CORE_READ(sk, sk_user_data) & ~KERNEL_USER_DATA_MASK);
}

// Whether redirected messages wait at the socket; of one that was read in part, the rest.
static __always_inline int has_waiting(const struct sk_psock *psock) {
  const void *head = (const char *)psock + bpf_core_field_offset(psock->ingress_msg);
  return (const void *)BPF_CORE_READ(psock, ingress_msg.next) != head;
}

// Bytes that were handed to the socket and that its app has not read; from 6.6.128, 6.12.75 and 6.18.14 on the kernel
// counts them itself, before it charged them to the receive buffer along with what TCP holds: never less.
static __always_inline __u32 unread_of(int direct, const struct sock *sk, __u64 psock_at) {
  const struct sk_psock *psock = KERNEL_AT(direct, struct sk_psock, psock_at);
  if (bpf_core_field_exists(psock->msg_tot_len)) return KERNEL_READ(direct, psock, msg_tot_len);
  return (__u32)KERNEL_READ(direct, sk, sk_backlog.rmem_alloc.counter);
}

// Where TCP notes that it is short of memory; one place for the family.
static __always_inline const unsigned long *pressure_of(const struct sock *sk) {
  return BPF_CORE_READ(sk, __sk_common.skc_prot, memory_pressure);
}

// A word, read as the first one of some structure: a cast to a bare word came with 6.17.
static __always_inline int under(int direct, __u64 pressure) {
  const struct timespec64 *since = KERNEL_AT(direct, struct timespec64, pressure);
  return KERNEL_READ(direct, since, tv_sec) != 0;
}

// A socket has one file all its life; none: no process has it (yet).
static __always_inline const struct file *file_of(const struct sock *sk) {
  return BPF_CORE_READ(sk, sk_socket, file);
}

static __always_inline int blocks(int direct, __u64 file_at) {
  const struct file *file = KERNEL_AT(direct, struct file, file_at);
  return (KERNEL_READ(direct, file, f_flags) & KERNEL_O_NONBLOCK) == 0;
}
