// An operation in the kernel's hands. It is a field of its owner and names the method that its completion is given to;
// while it is in flight the kernel owns it and its buffer, so the owner must live until the last completion: close is
// cancel, wait until nothing is in flight, delete. Multishot operations complete many times; Completion::more tells the
// last one. Thread: that of the loop.
#pragma once
#include <cstdint>

#include "base/assert.h"
#include "base/buffer.h"

namespace millrace::io {

struct Completion {
  int32_t result;          // bytes, descriptor, or -errno
  bool more;               // a multishot operation stays armed
  base::Buffer* received;  // recv: the bytes, to be moved out; null otherwise
};

class Operation {
 public:
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() { MILLRACE_ASSERT(!in_flight_); }

  bool in_flight() const { return in_flight_; }

 protected:
  using Complete = void (*)(Operation*, const Completion&);
  explicit Operation(Complete complete) : complete_(complete) {}

 private:
  friend class Backend;
  Complete complete_;
  int fd_ = -1;          // the backend's: what the operation is on,
  uint8_t kind_ = 0;     // and what it is
  bool in_flight_ = false;
};

// Op<&Owner::on_recv> recv_{*this};
template <auto Method>
class Op;

template <class Owner, void (Owner::*Method)(const Completion&)>
class Op<Method> final : public Operation {
 public:
  explicit Op(Owner& owner) : Operation(&Op::dispatch), owner_(owner) {}

 private:
  static void dispatch(Operation* self, const Completion& completion) {
    (static_cast<Op*>(self)->owner_.*Method)(completion);
  }
  Owner& owner_;
};

}  // namespace millrace::io
