#include "config/wire.h"

#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

namespace millrace::config {
namespace {

TEST(Wire, ReadsWhatProtobufWrites) {
  google::protobuf::FieldDescriptorProto message;
  message.set_name(std::string(300, 'n'));                                      // 1, a length of two bytes
  message.set_number(-1);                                                       // 3, a varint of ten bytes
  message.mutable_options()->add_uninterpreted_option()->set_double_value(0.5);  // 8, 999 and a fixed64
  const std::string wire = message.SerializeAsString();
  std::string again;
  for (const WireField& field : wire_fields(wire)) again += field.bytes;
  EXPECT_EQ(again, wire);
  ASSERT_EQ(wire_fields(wire).size(), 3u);
  EXPECT_EQ(wire_fields(wire)[1].number, 3);
  EXPECT_EQ(wire_value(wire, 1), message.name());
  EXPECT_EQ(wire_value(wire, 2), "");
  ASSERT_EQ(wire_values(wire, {8, 999}).size(), 1u);
  EXPECT_EQ(wire_fields(wire_values(wire, {8, 999})[0])[0].bytes.size(), 9u);
}

TEST(Wire, AppendsWhatProtobufReads) {
  std::string wire;
  append_wire(wire, 1, std::string(20'000, 'x'));
  append_wire(wire, 6, "later");
  google::protobuf::FieldDescriptorProto message;
  ASSERT_TRUE(message.ParseFromString(wire));
  EXPECT_EQ(message.name().size(), 20'000u);
  EXPECT_EQ(message.type_name(), "later");
}

TEST(Wire, StopsWhereAMessageBreaksOff) {
  std::string wire;
  append_wire(wire, 1, "whole");
  append_wire(wire, 2, "broken");
  for (size_t size = 0; size <= wire.size(); ++size) {
    const size_t fields = wire_fields(std::string_view(wire).substr(0, size)).size();
    EXPECT_EQ(fields, size < 7 ? 0u : size < wire.size() ? 1u : 2u) << size;
  }
  EXPECT_TRUE(wire_fields("\x0b\x0c").empty()) << "a group";
  EXPECT_TRUE(wire_fields(std::string(11, '\xff')).empty());
}

}  // namespace
}  // namespace millrace::config
