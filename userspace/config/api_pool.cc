#include "config/api_pool.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <utility>

#include "api/descriptor_set.h"
#include "base/assert.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;

// Calls each(bytes) with every serialized FileDescriptorProto of the embedded set.
template <typename Each>
void each_file(Each each) {
  const std::string_view set = api_descriptor_set();
  pb::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(set.data()),
                              static_cast<int>(set.size()));
  while (in.ReadTag() != 0) {  // the set has the one field `file`
    uint32_t size = 0;
    MILLRACE_ASSERT(in.ReadVarint32(&size));
    each(set.substr(static_cast<size_t>(in.CurrentPosition()), size));
    MILLRACE_ASSERT(in.Skip(static_cast<int>(size)));
  }
}

void add_names(const std::string& scope, const pb::DescriptorProto& message,
               std::vector<std::string>* names) {
  if (message.options().map_entry()) return;
  std::string name = scope + "." + message.name();
  for (const auto& nested : message.nested_type()) add_names(name, nested, names);
  names->push_back(std::move(name));
}

}  // namespace

struct ApiPool::State {
  pb::EncodedDescriptorDatabase database;  // refers to the embedded bytes
  pb::DescriptorPool pool{&database};
  pb::DynamicMessageFactory factory;
};

ApiPool& ApiPool::get() {
  static ApiPool* const pool =
      new ApiPool;  // never destroyed: messages in static storage may outlive main
  return *pool;
}

ApiPool::ApiPool() : state_(std::make_unique<State>()) {
  each_file([this](std::string_view bytes) {
    MILLRACE_ASSERT(state_->database.Add(bytes.data(), static_cast<int>(bytes.size())));
  });
}

ApiPool::~ApiPool() = default;

const pb::Descriptor* ApiPool::find_message(std::string_view full_name) const {
  const std::string name(full_name);
  const pb::Descriptor* generated =
      pb::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  return generated != nullptr ? generated : state_->pool.FindMessageTypeByName(name);
}

const pb::Descriptor* ApiPool::find_message_by_url(std::string_view type_url) const {
  const size_t slash = type_url.rfind('/');
  return find_message(slash == std::string_view::npos ? type_url : type_url.substr(slash + 1));
}

std::unique_ptr<pb::Message> ApiPool::new_message(const pb::Descriptor& type) const {
  const bool generated = type.file()->pool() == pb::DescriptorPool::generated_pool();
  const pb::Message* prototype = generated
                                     ? pb::MessageFactory::generated_factory()->GetPrototype(&type)
                                     : state_->factory.GetPrototype(&type);
  return std::unique_ptr<pb::Message>(prototype->New());
}

const pb::DescriptorPool& ApiPool::pool() const {
  return state_->pool;
}

std::vector<std::string> ApiPool::message_names() const {
  std::vector<std::string> names;
  each_file([&names](std::string_view bytes) {
    pb::FileDescriptorProto file;
    MILLRACE_ASSERT(file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    for (const auto& message : file.message_type()) add_names(file.package(), message, &names);
  });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace millrace::config
