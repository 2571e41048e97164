// The listener filter original_dst: makes the address that a redirected client meant to reach the connection's local
// address. In this order: what a registered source knows (the fast path's rewritten connect()); what the kernel's NAT
// remembers (iptables and nftables REDIRECT, SO_ORIGINAL_DST); the socket's own address, when it is not one that the
// listener is bound to (TPROXY, sk_lookup). A connection that came straight to the listener keeps its address and has
// no original destination: forwarding it there would be a loop. For a listener on a wildcard address, every address
// with its port counts as its own.
#pragma once
#include "filter/listener_filter.h"

namespace millrace::filter {

class OriginalDstFilter final : public ListenerFilter {
 public:
  ListenerFilterStatus inspect(AcceptedConnection& accepted) const override;
  std::string_view type_name() const override { return "envoy.filters.listener.original_dst"; }
};

}  // namespace millrace::filter
