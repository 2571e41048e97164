// Expected failures. An Error says what went wrong, whose fault it is and whether trying again can help; it is
// returned in a Result, handled or passed on, and logged once, where it is decided. Plain value, any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::base {

enum class Side : uint8_t { kInternal, kDownstream, kUpstream };

enum class ErrorCode : uint8_t {
  kOk,
  kInvalidArgument,   // the caller or the configuration is wrong
  kNotFound,
  kAlreadyExists,
  kUnsupported,       // known, not done by Millrace or not by this kernel
  kResourceExhausted, // a limit was met: descriptors, buffers, connections, header bytes
  kTimeout,
  kRefused,           // connect refused
  kUnreachable,
  kReset,             // peer reset or closed before the message was whole
  kClosed,            // orderly close
  kCancelled,
  kProtocol,          // the peer broke the protocol
  kIo,                // any other errno, in os
};

struct Error {
  ErrorCode code = ErrorCode::kIo;
  Side side = Side::kInternal;
  int os = 0;  // errno, 0 if none
  std::string what;

  static Error from_errno(int os, std::string_view doing, Side side = Side::kInternal);
  std::string to_string() const;
};

std::string_view name(ErrorCode code);
// The error class of an errno (ECONNREFUSED -> kRefused, ...).
ErrorCode code_of_errno(int os);
// Whether the same operation on another connection may succeed.
bool retryable(ErrorCode code);

}  // namespace millrace::base
