#include "stream/stream_info.h"

namespace millrace::stream {

std::string_view name(Protocol protocol) {
  switch (protocol) {
    case Protocol::kNone: return {};
    case Protocol::kHttp10: return "HTTP/1.0";
    case Protocol::kHttp11: return "HTTP/1.1";
    case Protocol::kHttp2: return "HTTP/2";
    case Protocol::kHttp3: return "HTTP/3";
  }
  return {};
}

}  // namespace millrace::stream
