#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace millrace::base {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk: return "ok";
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kAlreadyExists: return "already exists";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kResourceExhausted: return "resource exhausted";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kRefused: return "connection refused";
    case ErrorCode::kUnreachable: return "unreachable";
    case ErrorCode::kReset: return "connection reset";
    case ErrorCode::kClosed: return "connection closed";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kProtocol: return "protocol error";
    case ErrorCode::kIo: return "i/o error";
  }
  return "unknown";
}

ErrorCode code_of_errno(int os) {
  switch (os) {
    case 0: return ErrorCode::kOk;
    case EINVAL: return ErrorCode::kInvalidArgument;
    case ENOENT: return ErrorCode::kNotFound;
    case EADDRINUSE:
    case EEXIST: return ErrorCode::kAlreadyExists;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT: return ErrorCode::kUnsupported;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return ErrorCode::kResourceExhausted;
    case ETIMEDOUT: return ErrorCode::kTimeout;
    case ECONNREFUSED: return ErrorCode::kRefused;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL: return ErrorCode::kUnreachable;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE: return ErrorCode::kReset;
    case ECANCELED: return ErrorCode::kCancelled;
    default: return ErrorCode::kIo;
  }
}

bool retryable(ErrorCode code) {
  switch (code) {
    case ErrorCode::kTimeout:
    case ErrorCode::kRefused:
    case ErrorCode::kUnreachable:
    case ErrorCode::kReset:
    case ErrorCode::kClosed: return true;
    default: return false;
  }
}

Error Error::from_errno(int os, std::string_view doing, Side side) {
  return Error{code_of_errno(os), side, os, std::string(doing)};
}

std::string Error::to_string() const {
  std::string out = what.empty() ? std::string(name(code)) : what;
  if (os != 0) {
    out += ": ";
    out += std::strerror(os);
  }
  return out;
}

}  // namespace millrace::base
