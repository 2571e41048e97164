// Who knows where redirected connections meant to go, beyond what the kernel's NAT and the socket itself tell: the fast
// path, whose programs rewrite connect() and note the address. Asked before those two. Made by the main thread before
// the workers, outlives them.
#pragma once
#include <optional>

#include "net/address.h"

namespace millrace::net {

class OriginalDestinationSource {
 public:
  // Of an accepted socket; nullopt: not redirected by this source. On any worker's thread, asked again only when it
  // gave no answer; must not wait.
  virtual std::optional<Address> lookup(int fd) const = 0;

 protected:
  ~OriginalDestinationSource() = default;
};

}  // namespace millrace::net
