// How long to wait before the next attempt: uniformly random below a bound that doubles with each one, as Envoy's
// JitteredExponentialBackOffStrategy. A field of who tries.
#pragma once
#include <algorithm>

#include "base/clock.h"
#include "base/prng.h"

namespace millrace::upstream {

class BackOff {
 public:
  BackOff(base::milliseconds base, base::milliseconds max) : base_(base), max_(std::max(max, base)), bound_(base) {}

  base::milliseconds next(base::Prng& prng) {
    const base::milliseconds bound = bound_;
    bound_ = std::min(bound_ * 2, max_);
    return base::milliseconds(prng.below(static_cast<uint64_t>(std::max<int64_t>(bound.count(), 1))));
  }
  // It went well: begin anew.
  void reset() { bound_ = base_; }

 private:
  const base::milliseconds base_, max_;
  base::milliseconds bound_;
};

}  // namespace millrace::upstream
