// Every type of Envoy's v3 API by name: those Millrace translates as generated C++ classes, all others from the embedded
// descriptor set, built when first asked for. One per process (ApiPool::get), main thread only; descriptors and messages
// made here live as long as the process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace millrace::config {

class ApiPool {
 public:
  static ApiPool& get();

  ApiPool(const ApiPool&) = delete;
  ApiPool& operator=(const ApiPool&) = delete;

  // By full name ("envoy.config.cluster.v3.Cluster"); nullptr: Envoy has no such message.
  [[nodiscard]] const google::protobuf::Descriptor* find_message(std::string_view full_name);

  // By type URL: what follows the last '/' is the full name, whatever the host part says, as in Envoy.
  [[nodiscard]] const google::protobuf::Descriptor* find_message_by_url(std::string_view type_url);

  // An empty message: of the generated class where there is one (static_cast or dynamic_cast to it is fine), else dynamic.
  [[nodiscard]] std::unique_ptr<google::protobuf::Message> new_message(const google::protobuf::Descriptor* type);

  // Messages that a mistyped name or type URL may have meant, best first: the same last part in another package or version,
  // or a few letters off.
  [[nodiscard]] std::vector<std::string> similar_messages(std::string_view name_or_url, size_t max_count = 3);

  // Full names of all messages, sorted; map entries left out.
  [[nodiscard]] const std::vector<std::string>& message_names();

 private:
  ApiPool();
  ~ApiPool();

  struct State;
  std::unique_ptr<State> state_;
};

// The full name within a type URL: all after the last '/'.
[[nodiscard]] std::string_view type_name_of_url(std::string_view type_url);

}  // namespace millrace::config
