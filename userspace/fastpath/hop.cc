#include "fastpath/hop.h"

#include <utility>

#include "net/connection.h"

namespace millrace::fastpath {

bool HopRule::begin(uint64_t bytes, uint64_t exchange_bytes_max) {
  const uint64_t last = bytes - std::exchange(bytes_, bytes);
  ++requests_;
  return last <= exchange_bytes_max;
}

bool HopRule::refused(base::ErrorCode code) {
  // Not accepted yet; or an app that is new may be on its way to not blocking. Each time it waits for longer.
  const bool may_change = code == base::ErrorCode::kUnreachable || code == base::ErrorCode::kUnsupported;
  next_ = requests_ * 2;
  return may_change && ++asks_ < kAsksMax;
}

bool HopRule::left() {
  next_ = requests_ * 2;
  return ++asks_ < kAsksMax;
}

void Hop::consider(net::Connection& connection) {
  const uint64_t bytes = connection.bytes_received() + connection.bytes_sent();
  const bool fits = rule_.begin(bytes, offers_->rule().exchange_bytes_max);
  if (offer_) {
    leaving_ |= !fits;
    if (!leaving_ || !offer_.dissolve()) return;
    leaving_ = false;
    if (!rule_.left()) offers_ = nullptr;
    return;
  }
  if (!fits || !rule_.due()) return;
  auto offer = offers_->offer_hop(connection.fd());
  if (!offer.ok()) {
    if (!rule_.refused(offer.error().code)) offers_ = nullptr;
    return;
  }
  offer_ = std::move(*offer);
  // TCP resets a connection that is closed over unread bytes, and would not know of these.
  connection.reset_over_unread();
}

}  // namespace millrace::fastpath
