// Result<T>: a value or an Error; Result<void> for "done or an Error". Plain value. Reading the wrong side asserts,
// in release builds as well.
#pragma once
#include <optional>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "base/error.h"

namespace millrace::base {

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { MILLRACE_ASSERT(ok()); return *std::get_if<0>(&state_); }
  const T& value() const& { MILLRACE_ASSERT(ok()); return *std::get_if<0>(&state_); }
  T&& value() && { MILLRACE_ASSERT(ok()); return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { MILLRACE_ASSERT(!ok()); return *std::get_if<1>(&state_); }
  Error&& error() && { MILLRACE_ASSERT(!ok()); return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { MILLRACE_ASSERT(!ok()); return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace millrace::base
