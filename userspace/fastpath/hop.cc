#include "fastpath/hop.h"

#include <utility>

#include "net/connection.h"

namespace millrace::fastpath {

bool HopRule::due(uint64_t bytes) {
  const uint64_t last = bytes - std::exchange(bytes_, bytes);
  return ++requests_ >= next_ && last <= kSmallBytes;
}

bool HopRule::refused(base::ErrorCode code) {
  // Not accepted yet; or an app that is new may be on its way to not blocking. Each time it waits for longer.
  const bool may_change = code == base::ErrorCode::kUnreachable || code == base::ErrorCode::kUnsupported;
  next_ = requests_ * 2;
  return may_change && ++asks_ < kAsksMax;
}

void Hop::consider(net::Connection& connection) {
  if (!rule_.due(connection.bytes_received() + connection.bytes_sent())) return;
  auto offer = offers_->offer_hop(connection.fd());
  if (!offer.ok()) {
    if (!rule_.refused(offer.error().code)) offers_ = nullptr;
    return;
  }
  offer_ = std::move(*offer);
  offers_ = nullptr;
  // TCP resets a connection that is closed over unread bytes, and would not know of these.
  connection.reset_over_unread();
}

}  // namespace millrace::fastpath
