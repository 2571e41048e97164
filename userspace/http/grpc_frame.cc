#include "http/grpc_frame.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::http {

GrpcFrameHead grpc_frame_head(uint8_t flags, uint32_t message_bytes) {
  return {static_cast<char>(flags), static_cast<char>(message_bytes >> 24), static_cast<char>(message_bytes >> 16),
          static_cast<char>(message_bytes >> 8), static_cast<char>(message_bytes)};
}

void append_grpc_frame(std::string_view message, base::Buffer& out, uint8_t flags) {
  const GrpcFrameHead head = grpc_frame_head(flags, static_cast<uint32_t>(message.size()));
  out.append(head.data(), head.size());
  out.append(message);
}

void append_grpc_frame(base::Buffer& message, base::Buffer& out, uint8_t flags) {
  const GrpcFrameHead head = grpc_frame_head(flags, static_cast<uint32_t>(message.size()));
  out.append(head.data(), head.size());
  out.move_from(message);
}

base::Result<bool> GrpcFrameDecoder::next(base::Buffer& wire, GrpcMessage& message) {
  while (head_taken_ < kGrpcFrameHeadBytes) {
    const std::string_view front = wire.front();
    if (front.empty()) return false;
    const size_t n = std::min(front.size(), kGrpcFrameHeadBytes - head_taken_);
    std::copy_n(front.data(), n, reinterpret_cast<char*>(head_) + head_taken_);
    wire.drain(n);
    head_taken_ = static_cast<uint8_t>(head_taken_ + n);
    if ((head_[0] & ~flags_allowed_) != 0) {
      return base::Error{base::ErrorCode::kProtocol, base::Side::kInternal, 0,
                         fmt::format("gRPC frame with flags {:#04x}", head_[0])};
    }
    if (head_taken_ < kGrpcFrameHeadBytes) continue;
    length_ = uint32_t{head_[1]} << 24 | uint32_t{head_[2]} << 16 | uint32_t{head_[3]} << 8 | head_[4];
    if (length_ > message_bytes_max_) {
      return base::Error{base::ErrorCode::kProtocol, base::Side::kInternal, 0,
                         fmt::format("gRPC message of {} bytes, at most {} allowed", length_, message_bytes_max_)};
    }
  }
  partial_.move_from(wire, std::min<size_t>(wire.size(), length_ - partial_.size()));
  if (partial_.size() < length_) return false;
  message.flags = head_[0];
  message.bytes.clear();
  message.bytes.move_from(partial_);
  head_taken_ = 0;
  return true;
}

void GrpcFrameDecoder::reset() {
  head_taken_ = 0;
  length_ = 0;
  partial_.clear();
}

uint64_t GrpcMessageCounter::feed(const base::Buffer& bytes) {
  const uint64_t before = messages_;
  for (size_t i = 0; i < bytes.slice_count(); ++i) {
    const uint8_t* at = bytes.slice(i).begin;
    const uint8_t* const end = bytes.slice(i).end;
    while (at < end) {
      if (left_ > 0) {
        const size_t n = std::min<size_t>(left_, static_cast<size_t>(end - at));
        left_ -= static_cast<uint32_t>(n);
        at += n;
        continue;
      }
      if (head_taken_ == 0) {
        ++messages_;
        length_ = 0;
      } else {
        length_ = length_ << 8 | *at;
      }
      ++at;
      if (++head_taken_ == kGrpcFrameHeadBytes) {
        head_taken_ = 0;
        left_ = length_;
      }
    }
  }
  return messages_ - before;
}

}  // namespace millrace::http
