// Why the fast path passed, redirected, refused or dropped: the one list. Its order is the layout of the counters' map,
// so new reasons go to the end of their block and FP_ABI_VERSION changes with it. Third column: what it means, shown to
// operators.
#pragma once

// clang-format off
#define FP_REASONS(X) \
  X(PASS_OWN,             "pass_own",             "a connect or datagram of the daemon itself") \
  X(PASS_NO_RULE,         "pass_no_rule",         "no service and no capture rule wants it") \
  X(PASS_NO_FAMILY,       "pass_no_family",       "capture has no listener for the family that was dialled") \
  X(PASS_TO_LISTENER,     "pass_to_listener",     "the capture listener itself was dialled") \
  X(PASS_BOUND,           "pass_bound",           "a socket bound to a device, which leads to no listener") \
  X(CAPTURED,             "captured",             "a connect was sent to the capture listener") \
  X(CAPTURE_BYPASSED,     "capture_bypassed",     "no capture listener; the connect went its own way") \
  X(CAPTURE_REFUSED,      "capture_refused",      "no capture listener; the connect was refused") \
  X(CAPTURE_NO_STORAGE,   "capture_no_storage",   "no memory to note where a connect was going") \
  X(BALANCED_TCP,         "balanced_tcp",         "a TCP connect was sent to an endpoint of a service") \
  X(BALANCED_UDP,         "balanced_udp",         "a UDP connect was sent to an endpoint of a service") \
  X(BALANCED_DATAGRAM,    "balanced_datagram",    "an unconnected socket's datagram was sent to an endpoint") \
  X(DATAGRAM_ANSWERED,    "datagram_answered",    "the source of an answer was shown as the service that was asked") \
  X(SERVICE_EMPTY_PASSED, "service_empty_passed", "a service without healthy endpoint; left to the daemon") \
  X(SERVICE_EMPTY_REFUSED, "service_empty_refused", "a service without healthy endpoint; refused") \
  X(SERVICE_CHANGING,     "service_changing",     "a service changed each time it was read; left to the daemon") \
  X(SERVICE_NO_STORAGE,   "service_no_storage",   "no memory to note the service that was dialled") \
  X(PEERNAME_SHOWN,       "peername_shown",       "getpeername was answered with the address that was dialled") \
  X(ORIGINAL_PUBLISHED,   "original_published",   "the original destination of a captured connection was published") \
  X(ORIGINAL_DELIVERED,   "original_delivered",   "an accepted socket got the original destination of its peer") \
  X(ORIGINAL_ASKED,       "original_asked",       "SO_ORIGINAL_DST was answered to a third party") \
  X(ORIGINAL_LOST,        "original_lost",        "no memory to publish or deliver an original destination") \
  X(INBOUND_STEERED,      "inbound_steered",      "an incoming connection or datagram went to our listener") \
  X(INBOUND_NO_RULE,      "inbound_no_rule",      "an incoming connection or datagram that no rule wants") \
  X(INBOUND_DROPPED,      "inbound_dropped",      "the rule's listener is gone; dropped") \
  X(INBOUND_PASSED,       "inbound_passed",       "the rule's listener is gone; left to the kernel's choice") \
  X(WORKER_OF_CPU,        "worker_of_cpu",        "a connection stayed on the CPU that received it") \
  X(WORKER_OTHER,         "worker_other",         "the CPU has no worker; another one was chosen") \
  X(WORKER_MIGRATED,      "worker_migrated",      "a queued connection moved to a living listener") \
  X(WORKER_KERNEL,        "worker_kernel",        "no listener of the group is known; left to the kernel's choice")
// clang-format on

#define FP_REASON_ID_(id, name, text) FP_##id,
enum fp_reason { FP_REASONS(FP_REASON_ID_) FP_REASON_COUNT };
