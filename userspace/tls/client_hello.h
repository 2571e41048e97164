// The first message of a TLS client, read without answering it: what tls_inspector, SNI proxying and the JA3 and JA4
// fingerprints need. Sans-IO and incremental: feed() takes whatever came, cut anywhere, and looks at each byte once,
// also when the message is spread over several records. Owned by the connection that is inspected, its thread.
// RFC 8446 (4.1.2, 5.1), RFC 6066 (SNI), RFC 7301 (ALPN), RFC 8701 (GREASE).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tls {

// The lists keep the client's order and its GREASE values.
struct ClientHello {
  uint16_t legacy_version = 0;
  std::string server_name;          // in lower case; empty: none, or not a host name
  std::vector<std::string> alpn;
  std::vector<uint16_t> ciphers, extensions, groups, signature_algorithms, supported_versions;
  std::vector<uint8_t> point_formats;
  bool has_server_name = false;     // the extension is there
};

class ClientHelloReader {
 public:
  enum class Verdict : uint8_t {
    kMore,      // so far so good
    kDone,      // hello() is whole
    kNotTls,    // no ClientHello: another protocol, or a broken one
    kTooLarge,  // the limit was met first
  };

  static constexpr size_t kMessageBytesMax = 16384;  // Envoy's default for max_client_hello_size
  explicit ClientHelloReader(size_t message_bytes_max = kMessageBytesMax) : limit_(message_bytes_max) {}

  // The next bytes of the stream. What follows the ClientHello is not looked at. After another verdict than kMore,
  // the same one again.
  Verdict feed(std::string_view bytes);
  Verdict verdict() const { return verdict_; }
  const ClientHello& hello() const { return hello_; }
  size_t bytes_seen() const { return bytes_seen_; }

 private:
  bool feed_header(std::string_view& bytes);
  void feed_fragment(std::string_view& bytes);
  void finish();

  size_t limit_;
  size_t bytes_seen_ = 0;
  uint8_t header_[5] = {};
  uint8_t header_size_ = 0;
  uint32_t fragment_left_ = 0;  // bytes of the record still to come
  std::string message_;         // the handshake message, its 4-byte head included
  Verdict verdict_ = Verdict::kMore;
  ClientHello hello_;
};

// Parses a whole ClientHello message (with its handshake head); false: malformed.
bool parse_client_hello(std::string_view message, ClientHello& hello);

// "771,4865-4866,0-11-10,29-23,0", before and after MD5 (lower-case hex).
std::string ja3_text(const ClientHello& hello);
std::string ja3(const ClientHello& hello);
// "t13d1516h2_8daaf6152771_e5627efa2ab1".
std::string ja4(const ClientHello& hello);

}  // namespace millrace::tls
