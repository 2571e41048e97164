// Statistics of gRPC calls by cluster and, when asked for, by service and method: cluster.<cluster>.<protocol>. and
// what schema_http.h calls `grpc`. Blocks are made when a call first needs them and found again in a table of each
// worker's own, which is limited: clients choose the names. Shared by the streams of one filter; a worker touches its
// table only.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "http/header_map.h"
#include "stats/schema_http.h"
#include "stats/stats.h"

namespace millrace::filter {

// "/package.Service/Method"; empty when the path is not of that form.
struct GrpcMethod {
  std::string_view service, method;
  explicit operator bool() const { return !service.empty(); }
};
GrpcMethod grpc_method(std::string_view path);

class GrpcMethodStats {
 public:
  static constexpr size_t kMethodsMax = 4096;  // of each worker; calls of more count without their method

  // protocol: "grpc" or "grpc-web".
  GrpcMethodStats(stats::Store& store, std::string_view protocol, bool replace_dots_in_service);
  ~GrpcMethodStats();

  // Without a method: those of the cluster.
  stats::StatShard find(uint16_t worker, std::string_view cluster, GrpcMethod method) const;
  // A call ended with this; without a grpc-status nothing is counted.
  static void count_status(stats::StatShard& shard, const http::HeaderMap& headers);

 private:
  struct Entry {
    stats::StatBlockPtr block;
    stats::StatShard shard;
  };
  struct Table {
    std::unordered_map<std::string, Entry> entries;
    std::string key;  // kept for its memory
  };

  stats::Store& store_;
  const std::string protocol_;
  const bool replace_dots_;
  std::unique_ptr<Table[]> tables_;  // by worker
};

}  // namespace millrace::filter
