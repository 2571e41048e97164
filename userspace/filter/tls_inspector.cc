#include "filter/tls_inspector.h"

#include <optional>

#include "stats/schema_tls_inspector.h"
#include "tls/client_hello.h"

namespace millrace::filter {
namespace {

namespace ts = stats::tls_inspector;
using Verdict = tls::ClientHelloReader::Verdict;

struct Reading final : ListenerFilterMemory {
  explicit Reading(tls::ClientHelloReader reader_in) : reader(std::move(reader_in)) {}
  tls::ClientHelloReader reader;
  size_t read = 0;  // bytes of the input that the reader has had
};

// Gives the reader what it has not had yet.
Verdict feed(tls::ClientHelloReader& reader, const base::Buffer& input, size_t& read) {
  size_t before = 0;
  for (size_t i = 0; i < input.slice_count() && reader.verdict() == Verdict::kMore; ++i) {
    const std::string_view bytes = input.slice(i).view();
    if (before + bytes.size() > read) reader.feed(bytes.substr(read - before));
    before += bytes.size();
    read = std::max(read, before);
  }
  return reader.verdict();
}

void take_hints(const tls::ClientHello& hello, const TlsInspectorOptions& options, net::ClientHints& hints,
                stats::StatShard& stats) {
  hints.transport_protocol = "tls";
  hints.server_name = hello.server_name;
  hints.application_protocols = hello.alpn;
  if (options.ja3) hints.ja3 = tls::ja3(hello);
  if (options.ja4) hints.ja4 = tls::ja4(hello);
  stats.inc(ts::kTlsFound);
  stats.inc(hello.server_name.empty() ? ts::kSniNotFound : ts::kSniFound);
  stats.inc(hello.alpn.empty() ? ts::kAlpnNotFound : ts::kAlpnFound);
}

}  // namespace

ListenerFilterStatus TlsInspector::inspect(AcceptedConnection& accepted) const {
  const base::Buffer& input = accepted.connection.input();
  if (input.empty()) return ListenerFilterStatus::kWait;
  stats::StatShard stats = options_.stats->worker(accepted.worker);
  auto* reading = static_cast<Reading*>(accepted.memory.get());
  // Mostly it all comes at once, and nothing has to be kept.
  std::optional<tls::ClientHelloReader> fresh;
  if (reading == nullptr) fresh.emplace(options_.client_hello_bytes_max);
  size_t read = reading == nullptr ? 0 : reading->read;
  tls::ClientHelloReader& reader = reading == nullptr ? *fresh : reading->reader;
  const Verdict verdict = feed(reader, input, read);
  if (verdict == Verdict::kMore) {
    if (reading == nullptr) {
      auto kept = std::make_unique<Reading>(std::move(*fresh));
      reading = kept.get();
      accepted.memory = std::move(kept);
    }
    reading->read = read;
    return ListenerFilterStatus::kWait;
  }
  stats.record(ts::kBytesProcessed, reader.bytes_seen());
  switch (verdict) {
    case Verdict::kDone:
      take_hints(reader.hello(), options_, accepted.connection.make_client_hints(), stats);
      return ListenerFilterStatus::kContinue;
    case Verdict::kTooLarge:
      stats.inc(ts::kClientHelloTooBig);
      return ListenerFilterStatus::kClose;
    default:
      break;
  }
  stats.inc(ts::kTlsNotFound);
  const bool began_as_tls = input.front().starts_with('\x16');
  return began_as_tls && options_.close_on_parsing_errors ? ListenerFilterStatus::kClose
                                                          : ListenerFilterStatus::kContinue;
}

}  // namespace millrace::filter
