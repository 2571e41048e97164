// Inbound steering of one network namespace: which local addresses and ports go to which listening sockets of ours.
// Main thread. The link outlives the object and the process; rules and sockets belong to one attach(), so a new one
// takes over at once with both. Sockets have to be of that namespace; one socket of an SO_REUSEPORT group stands for
// the group. A socket that closes leaves by itself, and the policy for missing sockets holds.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/object.h"
#include "fastpath/options.h"
#include "fastpath/pin_dir.h"
#include "fp_steering.h"
#include "net/network_namespace.h"

namespace millrace::fastpath {

// Rules as the program looks them up: the longest prefix has the ranges of those around it as well.
struct InboundPrefix {
  fp_prefix prefix{};
  fp_inbound_rule rule{};
};
base::Result<std::vector<InboundPrefix>> compile_inbound(std::span<const InboundRule> rules);

class Inbound {
 public:
  // `sockets[k]` is what rules mean by socket k; -1: none yet.
  static base::Result<Inbound> attach(const PinDir& pins, const InboundOptions& options,
                                      std::span<const int> sockets);
  base::Result<void> set_socket(uint32_t index, int fd);

  static std::string link_name(const net::NetworkNamespace& netns);

 private:
  explicit Inbound(Fd sockets) : sockets_(std::move(sockets)) {}
  Fd sockets_;
};

}  // namespace millrace::fastpath
