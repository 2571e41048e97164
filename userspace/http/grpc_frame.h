// gRPC's framing of messages (grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"): one byte of flags, four of length
// in network order, the message. Three sans-IO pieces: write a frame, cut a stream into whole messages, count the
// messages of a stream that passes by. Owned by one stream, on its thread; no bytes are copied but those of a head that
// came in pieces.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "base/result.h"

namespace millrace::http {

inline constexpr size_t kGrpcFrameHeadBytes = 5;
inline constexpr uint8_t kGrpcCompressed = 0x01;
inline constexpr uint8_t kGrpcWebTrailers = 0x80;  // grpc-web only: the message is a block of trailers

using GrpcFrameHead = std::array<char, kGrpcFrameHeadBytes>;
GrpcFrameHead grpc_frame_head(uint8_t flags, uint32_t message_bytes);
void append_grpc_frame(std::string_view message, base::Buffer& out, uint8_t flags = 0);
// The message, which is all of `message`, moves into a frame at the end of out; at most 4 GiB - 1.
void append_grpc_frame(base::Buffer& message, base::Buffer& out, uint8_t flags = 0);

struct GrpcMessage {
  uint8_t flags = 0;
  base::Buffer bytes;
  bool compressed() const { return (flags & kGrpcCompressed) != 0; }
};

// Cuts a stream into messages:
//   while (true) { auto got = decoder.next(wire, message); if (!got) fail; if (!*got) break; use(message); }
class GrpcFrameDecoder {
 public:
  static constexpr uint32_t kUnlimited = UINT32_MAX;
  // flags_allowed: a frame with other flags is an error, as is a message larger than message_bytes_max.
  explicit GrpcFrameDecoder(uint32_t message_bytes_max = kUnlimited, uint8_t flags_allowed = kGrpcCompressed)
      : message_bytes_max_(message_bytes_max), flags_allowed_(flags_allowed) {}

  // Takes bytes from the front of `wire`, as many as it can use; true: `message` is a whole one. An error is final.
  base::Result<bool> next(base::Buffer& wire, GrpcMessage& message);
  // Nothing of a message that is not whole has been taken: the stream may end here.
  bool at_boundary() const { return head_taken_ == 0; }
  // Bytes of an unfinished message held.
  size_t held_bytes() const { return partial_.size(); }
  void reset();

 private:
  uint32_t message_bytes_max_;
  uint8_t flags_allowed_;
  uint8_t head_taken_ = 0;  // kGrpcFrameHeadBytes: the head is known
  uint8_t head_[kGrpcFrameHeadBytes] = {};
  uint32_t length_ = 0;
  base::Buffer partial_;
};

// Counts the messages of a stream without holding any of it. A message counts when its first byte was seen.
class GrpcMessageCounter {
 public:
  // Returns how many messages began in these bytes.
  uint64_t feed(const base::Buffer& bytes);
  uint64_t messages() const { return messages_; }
  void reset() { *this = GrpcMessageCounter(); }

 private:
  uint64_t messages_ = 0;
  uint32_t length_ = 0;
  uint32_t left_ = 0;       // of the message
  uint8_t head_taken_ = 0;
};

}  // namespace millrace::http
