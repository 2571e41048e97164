#include "config/api_pool.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "api/descriptor_set.h"
#include "base/assert.h"
#include "config/similar.h"

namespace millrace::config {
namespace {

namespace pb = google::protobuf;

std::string_view last_part(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

}  // namespace

struct ApiPool::State {
  // Files are built on top of the generated ones, so that a dynamic message holds generated classes where they exist.
  pb::DescriptorPool pool{pb::DescriptorPool::generated_pool()};
  pb::DynamicMessageFactory factory;
  std::unordered_map<std::string, std::string_view> files;         // name -> serialized FileDescriptorProto, embedded
  std::unordered_map<std::string, const std::string*> file_of;     // message -> name of its file
  std::vector<std::string> names;

  void index();
  void index_message(const std::string& scope, const pb::DescriptorProto& message, const std::string* file);
  void build(const std::string& file);
};

// One pass over the set: each file is parsed once for its names and then dropped.
void ApiPool::State::index() {
  const std::string_view set = api_descriptor_set();
  pb::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(set.data()), static_cast<int>(set.size()));
  while (in.ReadTag() != 0) {
    uint32_t size = 0;
    MILLRACE_ASSERT(in.ReadVarint32(&size));
    const std::string_view bytes = set.substr(static_cast<size_t>(in.CurrentPosition()), size);
    MILLRACE_ASSERT(in.Skip(static_cast<int>(size)));
    pb::FileDescriptorProto file;
    MILLRACE_ASSERT(file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    const auto [entry, inserted] = files.emplace(file.name(), bytes);
    MILLRACE_ASSERT(inserted);
    for (const auto& message : file.message_type()) index_message(file.package(), message, &entry->first);
  }
  std::sort(names.begin(), names.end());
}

void ApiPool::State::index_message(const std::string& scope, const pb::DescriptorProto& message,
                                   const std::string* file) {
  if (message.options().map_entry()) return;
  std::string name = scope + "." + message.name();
  file_of.emplace(name, file);
  for (const auto& nested : message.nested_type()) index_message(name, nested, file);
  names.push_back(std::move(name));
}

void ApiPool::State::build(const std::string& name) {
  if (pool.FindFileByName(name) != nullptr) return;  // looks in the generated pool as well
  const std::string_view bytes = files.at(name);
  pb::FileDescriptorProto file;
  MILLRACE_ASSERT(file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  for (const std::string& dependency : file.dependency()) build(dependency);
  MILLRACE_ASSERT(pool.BuildFile(file) != nullptr);
}

ApiPool& ApiPool::get() {
  static ApiPool* const pool = new ApiPool;  // never destroyed: messages in static storage may outlive main
  return *pool;
}

ApiPool::ApiPool() : state_(std::make_unique<State>()) {
  state_->factory.SetDelegateToGeneratedFactory(true);
  state_->index();
}

ApiPool::~ApiPool() = default;

const pb::Descriptor* ApiPool::find_message(std::string_view full_name) {
  const std::string name(full_name);
  const auto it = state_->file_of.find(name);
  if (it == state_->file_of.end()) return nullptr;
  state_->build(*it->second);
  return state_->pool.FindMessageTypeByName(name);
}

const pb::Descriptor* ApiPool::find_message_by_url(std::string_view type_url) {
  return find_message(type_name_of_url(type_url));
}

std::unique_ptr<pb::Message> ApiPool::new_message(const pb::Descriptor* type) {
  return std::unique_ptr<pb::Message>(state_->factory.GetPrototype(type)->New());
}

std::vector<std::string> ApiPool::similar_messages(std::string_view name_or_url, size_t max_count) {
  const std::string_view wanted = type_name_of_url(name_or_url);
  std::vector<std::pair<size_t, const std::string*>> found;
  constexpr size_t kFar = 40;
  for (const std::string& name : state_->names) {
    // A wrong package with the right last part beats any spelling that is more than a few letters off.
    const size_t near = std::min<size_t>(6, std::max<size_t>(2, wanted.size() / 8));
    const size_t distance = edit_distance(wanted, name, kFar);
    if (distance <= near) {
      found.emplace_back(distance, &name);
    } else if (last_part(name) == last_part(wanted)) {
      found.emplace_back(near + distance, &name);
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [distance, name] : found) {
    if (names.size() == max_count) break;
    names.push_back(*name);
  }
  return names;
}

const std::vector<std::string>& ApiPool::message_names() { return state_->names; }

std::string_view type_name_of_url(std::string_view type_url) {
  const size_t slash = type_url.rfind('/');
  return slash == std::string_view::npos ? type_url : type_url.substr(slash + 1);
}

}  // namespace millrace::config
