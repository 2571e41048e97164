#include "filter/grpc_method_stats.h"

#include <algorithm>

#include "stats/names.h"
#include "stream/grpc_status.h"

namespace millrace::filter {

namespace gs = stats::grpc;

GrpcMethod grpc_method(std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (!path.starts_with('/')) return {};
  const size_t slash = path.find('/', 1);
  if (slash == std::string_view::npos || slash == 1 || slash + 1 == path.size()) return {};
  const std::string_view method = path.substr(slash + 1);
  if (method.find('/') != std::string_view::npos) return {};
  return {path.substr(1, slash - 1), method};
}

GrpcMethodStats::GrpcMethodStats(stats::Store& store, std::string_view protocol, bool replace_dots_in_service)
    : store_(store), protocol_(protocol), replace_dots_(replace_dots_in_service),
      tables_(std::make_unique<Table[]>(store.shard_count())) {}

GrpcMethodStats::~GrpcMethodStats() = default;

stats::StatShard GrpcMethodStats::find(uint16_t worker, std::string_view cluster, GrpcMethod method) const {
  Table& table = tables_[worker];
  if (method && table.entries.size() >= kMethodsMax) {
    table.key.assign(cluster).append(1, '\0').append(method.service).append(1, '\0').append(method.method);
    if (!table.entries.contains(table.key)) method = {};
  }
  table.key.assign(cluster).append(1, '\0').append(method.service).append(1, '\0').append(method.method);
  const auto [it, made] = table.entries.try_emplace(table.key);
  if (made) {
    std::string service(method.service);
    if (replace_dots_) std::replace(service.begin(), service.end(), '.', '_');
    it->second.block = store_.add_block(gs::kSchema, stats::grpc_name(cluster, protocol_, service, method.method));
    it->second.shard = it->second.block->worker(worker);
  }
  return it->second.shard;
}

void GrpcMethodStats::count_status(stats::StatShard& shard, const http::HeaderMap& headers) {
  if (!headers.has(http::Header::kGrpcStatus)) return;
  const int64_t status = stream::grpc_status(nullptr, &headers, 0).value_or(stream::kGrpcInvalidCode);
  constexpr int64_t kLast = gs::kStatus16 - gs::kStatus0;
  if (status >= 0 && status <= kLast) shard.inc(static_cast<uint16_t>(gs::kStatus0 + status));
  shard.inc(status == stream::kGrpcOk ? gs::kSuccess : gs::kFailure);
  shard.inc(gs::kTotal);
}

}  // namespace millrace::filter
