// The configuration loader on any bytes: YAML, JSON when they begin with '{', protobuf's text format when they begin with
// "# text". Whatever the input, the loader comes back, says something exactly when it refuses, and points into the file;
// what it accepts, it accepts again from the wire format.
#include <google/protobuf/message.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "config/loader.h"
#include "fuzz/check.h"

namespace {

using millrace::config::ConfigFormat;
using millrace::config::Diagnostic;
using millrace::config::Loaded;

ConfigFormat format_of(std::string_view text) {
  if (text.starts_with("{")) return ConfigFormat::kJson;
  return text.starts_with("# text") ? ConfigFormat::kProtobufText : ConfigFormat::kYaml;
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
  const Loaded again = millrace::config::load_bootstrap_text(loaded.message().SerializePartialAsString(), "f",
                                                             ConfigFormat::kProtobuf);
  FUZZ_CHECK(again.ok(), again.diagnostics().to_string());
  return 0;
}
