// A descriptor set from the text of a .proto file, as protoc would write it, without what it imports of Google's.
#pragma once
#include <google/api/annotations.pb.h>
#include <google/api/httpbody.pb.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <string>

namespace millrace::transcode {

inline std::string descriptor_set_of(const std::string& text) {
  namespace pb = google::protobuf;
  // Puts these files into the generated pool.
  google::api::HttpBody::descriptor();
  pb::Timestamp::descriptor();
  pb::Int32Value::descriptor();
  struct Errors final : pb::io::ErrorCollector {
    void AddError(int line, int column, const std::string& message) override {
      ADD_FAILURE() << line + 1 << ":" << column + 1 << ": " << message;
    }
  } errors;
  pb::io::ArrayInputStream input(text.data(), static_cast<int>(text.size()));
  pb::io::Tokenizer tokens(&input, &errors);
  pb::compiler::Parser parser;
  pb::FileDescriptorProto file;
  parser.RecordErrorsTo(&errors);
  EXPECT_TRUE(parser.Parse(&tokens, &file));
  file.set_name("test.proto");
  pb::DescriptorPool pool(pb::DescriptorPool::generated_pool());  // interprets the options
  const pb::FileDescriptor* built = pool.BuildFile(file);
  EXPECT_NE(built, nullptr);
  pb::FileDescriptorSet set;
  if (built != nullptr) built->CopyTo(set.add_file());
  return set.SerializeAsString();
}

}  // namespace millrace::transcode
