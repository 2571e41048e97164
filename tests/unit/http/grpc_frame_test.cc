#include "http/grpc_frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::http {
namespace {

using std::string_literals::operator""s;

std::string framed(std::string_view message, uint8_t flags = 0) {
  base::Buffer out;
  append_grpc_frame(message, out, flags);
  return out.to_string();
}

// Feeds the bytes in pieces of `step` and returns the messages, or what went wrong.
std::vector<std::string> decode(GrpcFrameDecoder& decoder, std::string_view bytes, size_t step) {
  std::vector<std::string> messages;
  GrpcMessage message;
  while (!bytes.empty()) {
    base::Buffer piece;
    piece.append(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      base::Result<bool> got = decoder.next(piece, message);
      if (!got.ok()) return messages.push_back("error: " + got.error().what), messages;
      if (!*got) break;
      messages.push_back(message.bytes.to_string() + (message.compressed() ? "(compressed)" : ""));
    }
    EXPECT_TRUE(piece.empty());
  }
  return messages;
}

TEST(GrpcFrame, IsFlagsLengthAndMessage) {
  EXPECT_EQ(framed("abc"), "\0\0\0\0\3abc"s);
  EXPECT_EQ(framed("", kGrpcCompressed), "\1\0\0\0\0"s);
  EXPECT_EQ(framed(std::string(0x010203, 'x')).substr(0, 6), "\0\0\1\2\3x"s);
  base::Buffer message, out;
  message.append("hello");
  append_grpc_frame(message, out, kGrpcWebTrailers);
  EXPECT_EQ(out.to_string(), "\x80\0\0\0\5hello"s);
  EXPECT_TRUE(message.empty());
}

TEST(GrpcFrame, DecodesTheSameMessagesHoweverTheyAreCut) {
  const std::string bytes = framed("first") + framed("") + framed(std::string(300, 'z'), kGrpcCompressed) + framed("l");
  const std::vector<std::string> expected{"first", "", std::string(300, 'z') + "(compressed)", "l"};
  for (size_t step = 1; step <= bytes.size(); ++step) {
    GrpcFrameDecoder decoder;
    EXPECT_EQ(decode(decoder, bytes, step), expected) << step;
    EXPECT_TRUE(decoder.at_boundary());
  }
}

TEST(GrpcFrame, KnowsWhetherTheStreamMayEnd) {
  GrpcFrameDecoder decoder;
  EXPECT_TRUE(decoder.at_boundary());
  EXPECT_TRUE(decode(decoder, framed("abc").substr(0, 2), 9).empty());
  EXPECT_FALSE(decoder.at_boundary());
  EXPECT_TRUE(decode(decoder, framed("abc").substr(2, 4), 9).empty());
  EXPECT_FALSE(decoder.at_boundary());
  EXPECT_EQ(decoder.held_bytes(), 1u);
  decoder.reset();
  EXPECT_TRUE(decoder.at_boundary());
  EXPECT_EQ(decode(decoder, framed("new"), 99), std::vector<std::string>{"new"});
}

TEST(GrpcFrame, RefusesUnknownFlagsAndLargeMessages) {
  GrpcFrameDecoder strict(4);
  EXPECT_EQ(decode(strict, framed("abcd"), 99), std::vector<std::string>{"abcd"});
  EXPECT_EQ(decode(strict, framed("abcde"), 99),
            std::vector<std::string>{"error: gRPC message of 5 bytes, at most 4 allowed"});
  GrpcFrameDecoder plain, web(GrpcFrameDecoder::kUnlimited, kGrpcCompressed | kGrpcWebTrailers);
  EXPECT_EQ(decode(plain, framed("a", 0x80), 1), std::vector<std::string>{"error: gRPC frame with flags 0x80"});
  EXPECT_EQ(decode(web, framed("a", 0x80), 1), std::vector<std::string>{"a"});
}

TEST(GrpcFrame, TheCounterCountsMessagesThatBegan) {
  const std::string bytes = framed("first") + framed("") + framed(std::string(300, 'z'));
  for (size_t step = 1; step <= bytes.size(); ++step) {
    GrpcMessageCounter counter;
    uint64_t sum = 0;
    for (size_t at = 0; at < bytes.size(); at += step) {
      base::Buffer piece;
      piece.append(std::string_view(bytes).substr(at, step));
      sum += counter.feed(piece);
    }
    EXPECT_EQ(sum, 3u) << step;
    EXPECT_EQ(counter.messages(), 3u);
  }
  GrpcMessageCounter counter;
  base::Buffer head;
  head.append("\0"s);
  EXPECT_EQ(counter.feed(head), 1u);
}

}  // namespace
}  // namespace millrace::http
