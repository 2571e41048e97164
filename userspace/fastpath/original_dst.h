// Where a captured connection was going: asked of an accepted socket by its descriptor. Any thread; two system calls at
// most on the usual way. The maps live as long as the object.
#pragma once
#include <optional>

#include "base/result.h"
#include "fastpath/fd.h"
#include "fastpath/pin_dir.h"
#include "net/address.h"
#include "net/original_destination.h"

namespace millrace::fastpath {

class OriginalDst final : public net::OriginalDestinationSource {
 public:
  static base::Result<OriginalDst> open(const PinDir& pins);

  // The address that the client dialled; nothing if the connection was not captured. First what sockops left on the
  // socket; then, for listeners outside of the steered cgroups and for TCP Fast Open, the entry of the flow, which is
  // taken out.
  std::optional<net::Address> lookup(int accepted_fd) const override;

 private:
  OriginalDst(Fd sockets, Fd flows) : sockets_(std::move(sockets)), flows_(std::move(flows)) {}
  Fd sockets_;
  Fd flows_;
};

}  // namespace millrace::fastpath
