// Every type of Envoy's v3 API by name: those Millrace translates as generated C++ classes, all
// others from the embedded descriptor set, built when first asked for. One per process
// (ApiPool::get), main thread only; descriptors and messages made here live as long as the process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class DescriptorPool;
class Message;
}  // namespace google::protobuf

namespace millrace::config {

class ApiPool {
 public:
  static ApiPool& get();

  ApiPool(const ApiPool&) = delete;
  ApiPool& operator=(const ApiPool&) = delete;

  // By full name ("envoy.config.cluster.v3.Cluster"): the generated class' descriptor where there
  // is one, else that of pool(); nullptr: Envoy has no such message.
  [[nodiscard]] const google::protobuf::Descriptor* find_message(std::string_view full_name) const;

  // By type URL: what follows the last '/' is the full name, whatever the host part says, as in
  // Envoy.
  [[nodiscard]] const google::protobuf::Descriptor* find_message_by_url(
      std::string_view type_url) const;

  // An empty message: of the generated class if the descriptor is that class', else dynamic.
  [[nodiscard]] std::unique_ptr<google::protobuf::Message> new_message(
      const google::protobuf::Descriptor& type) const;

  // All types, generated ones included, with descriptors of its own; files are built as they are
  // looked up.
  [[nodiscard]] const google::protobuf::DescriptorPool& pool() const;

  // Full names of all messages, sorted, map entries left out. Reads the whole set: for error
  // messages and tables.
  [[nodiscard]] std::vector<std::string> message_names() const;

 private:
  ApiPool();
  ~ApiPool();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::config
