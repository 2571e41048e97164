// The configuration loader on any bytes: YAML, JSON when they begin with '{', protobuf's text format when they begin
// with "# text". Whatever the input, the loader comes back, says something exactly when it refuses, and points into the
// file; what it accepts, it accepts again from the wire format. The translation makes a Snapshot of it, or says why
// not.
#include <google/protobuf/message.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/config_dump.h"
#include "config/loader.h"
#include "config/translate.h"
#include "fuzz/check.h"

namespace {

using millrace::config::ConfigFormat;
using millrace::config::Diagnostic;
using millrace::config::Loaded;

ConfigFormat format_of(std::string_view text) {
  if (text.starts_with("{")) return ConfigFormat::kJson;
  return text.starts_with("# text") ? ConfigFormat::kProtobufText : ConfigFormat::kYaml;
}

void translate(std::string_view text) {
  millrace::stats::Store store(1);
  millrace::config::BuildContext context;
  context.store = &store;
  const auto made = millrace::config::load_snapshot({"", std::string(text), false}, context);
  FUZZ_CHECK((made.snapshot == nullptr) == (made.errors != 0), made.messages);
  if (made.snapshot != nullptr) FUZZ_CHECK(!made.snapshot->config_dump->text().empty(), made.messages);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Loaded loaded = millrace::config::load_bootstrap_text(text, "f", format_of(text));
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  for (const Diagnostic& diagnostic : loaded.diagnostics().list()) {
    FUZZ_CHECK(!diagnostic.what.empty(), diagnostic.to_string());
    FUZZ_CHECK(diagnostic.line <= lines + 1, diagnostic.to_string());
  }
  FUZZ_CHECK(loaded.ok() == (loaded.diagnostics().errors() == 0), loaded.diagnostics().to_string());
  if (!loaded.ok()) return 0;
  const Loaded again =
      millrace::config::load_bootstrap_text(loaded.message().SerializePartialAsString(), "f", ConfigFormat::kProtobuf);
  FUZZ_CHECK(again.ok(), again.diagnostics().to_string());
  if (format_of(text) != ConfigFormat::kProtobufText) translate(text);
  return 0;
}
