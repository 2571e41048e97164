// However a stream is cut, its ClientHello is read the same, and what is read can be fingerprinted. The first byte
// says how it is cut.
#include <algorithm>
#include <cstdint>

#include "fuzz/check.h"
#include "tls/client_hello.h"

using namespace millrace::tls;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  ClientHelloReader whole(2048);
  whole.feed(stream);
  ClientHelloReader cut(2048);
  const size_t step = 1 + data[0] % 23;
  for (size_t at = 0; at < stream.size(); at += step) cut.feed(stream.substr(at, step));
  FUZZ_CHECK(whole.verdict() == cut.verdict(), "cut into pieces of " + std::to_string(step));
  FUZZ_CHECK(whole.bytes_seen() <= stream.size(), std::to_string(whole.bytes_seen()));
  if (whole.verdict() != ClientHelloReader::Verdict::kDone) return 0;
  FUZZ_CHECK(whole.bytes_seen() == cut.bytes_seen(), "bytes seen");
  FUZZ_CHECK(ja3_text(whole.hello()) == ja3_text(cut.hello()), ja3_text(whole.hello()));
  FUZZ_CHECK(ja3(whole.hello()).size() == 32, ja3(whole.hello()));
  FUZZ_CHECK(ja4(whole.hello()).size() == 36, ja4(whole.hello()));
  FUZZ_CHECK(whole.hello().server_name == cut.hello().server_name, whole.hello().server_name);
  return 0;
}
