// HTTP/1.1 messages out: a HeaderMap becomes a head in one pass over it, body slices become chunks without being
// copied. Stateless functions, any thread. The writer adds the framing field it is told to and drops whatever of
// content-length and transfer-encoding the map holds (unless told kAsIs); all other decisions, hop-by-hop fields
// included, are the caller's. Entries whose name or value holds a control character are left out: they could end
// the head early. Pseudo headers become the first line and Host; others of them are left out.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "http/header_map.h"

namespace millrace::http {

struct Framing {
  enum class Kind : uint8_t {
    kNone,           // no body, or one that ends with the connection
    kContentLength,
    kChunked,
    kAsIs,           // the map's own content-length: answers to HEAD, and 304
  };
  Kind kind = Kind::kNone;
  uint64_t length = 0;
};

struct WriterOptions {
  bool proper_case = false;  // Content-Type for content-type
  bool http_10 = false;      // the version to put on the first line
  bool absolute_form = false;  // requests: scheme and authority in the target (RFC 9112 section 3.2.2)
};

// False, and nothing written, when :method, :path (:authority for CONNECT) or :status are missing or hold bytes that
// cannot stand on a first line.
[[nodiscard]] bool write_request_head(const HeaderMap& headers, Framing framing, WriterOptions options,
                                      base::Buffer& out);
[[nodiscard]] bool write_response_head(const HeaderMap& headers, Framing framing, WriterOptions options,
                                       base::Buffer& out);
// All of body as one chunk; nothing when it is empty.
void write_chunk(base::Buffer& body, base::Buffer& out);
// The last chunk, with trailers if there are any.
void write_last_chunk(const HeaderMap* trailers, WriterOptions options, base::Buffer& out);

}  // namespace millrace::http
