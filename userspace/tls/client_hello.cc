#include "tls/client_hello.h"

#include <algorithm>
#include <cctype>

namespace millrace::tls {
namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHelloMessage = 1;
constexpr size_t kHeadBytes = 4;  // type and length of a handshake message
constexpr size_t kFragmentBytesMax = 16384;

enum Extension : uint16_t {
  kServerName = 0,
  kSupportedGroups = 10,
  kPointFormats = 11,
  kSignatureAlgorithms = 13,
  kAlpn = 16,
  kSupportedVersions = 43,
};

// A cursor over bytes; a read past the end fails and leaves it failed.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool ok() const { return ok_; }
  bool empty() const { return rest_.empty(); }
  uint32_t number(size_t bytes) {
    const std::string_view raw = take(bytes);
    uint32_t value = 0;
    for (const char c : raw) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  std::string_view take(size_t n) {
    if (n > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  // What a length of so many bytes announces.
  std::string_view vector(size_t length_bytes) { return take(number(length_bytes)); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

bool read_numbers(std::string_view bytes, std::vector<uint16_t>& out) {
  if (bytes.size() % 2 != 0) return false;
  Reader reader(bytes);
  while (!reader.empty()) out.push_back(static_cast<uint16_t>(reader.number(2)));
  return true;
}

// The extension's body is exactly one vector.
bool read_list(std::string_view body, size_t length_bytes, std::string_view& list) {
  Reader reader(body);
  list = reader.vector(length_bytes);
  return reader.ok() && reader.empty();
}

bool read_server_name(std::string_view body, ClientHello& hello) {
  std::string_view list;
  if (!read_list(body, 2, list)) return false;
  Reader reader(list);
  while (!reader.empty()) {
    const uint32_t type = reader.number(1);
    const std::string_view name = reader.vector(2);
    if (!reader.ok() || type != 0) return false;  // only host names exist, and their order is fixed
    if (name.empty() || name.size() > 255 || name.find('\0') != name.npos) return false;
    if (!hello.server_name.empty()) return false;
    hello.server_name.assign(name);
    for (char& c : hello.server_name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
  }
  hello.has_server_name = true;
  return !hello.server_name.empty();
}

bool read_alpn(std::string_view body, ClientHello& hello) {
  std::string_view list;
  if (!read_list(body, 2, list) || list.empty()) return false;
  Reader reader(list);
  while (!reader.empty()) {
    const std::string_view name = reader.vector(1);
    if (!reader.ok() || name.empty()) return false;
    hello.alpn.emplace_back(name);
  }
  return true;
}

bool read_extension(uint16_t type, std::string_view body, ClientHello& hello) {
  std::string_view list;
  switch (type) {
    case kServerName: return read_server_name(body, hello);
    case kAlpn: return read_alpn(body, hello);
    case kSupportedGroups: return read_list(body, 2, list) && read_numbers(list, hello.groups);
    case kSignatureAlgorithms: return read_list(body, 2, list) && read_numbers(list, hello.signature_algorithms);
    case kSupportedVersions: return read_list(body, 1, list) && read_numbers(list, hello.supported_versions);
    case kPointFormats:
      if (!read_list(body, 1, list)) return false;
      hello.point_formats.assign(list.begin(), list.end());
      return true;
    default: return true;
  }
}

}  // namespace

bool parse_client_hello(std::string_view message, ClientHello& hello) {
  Reader reader(message);
  if (reader.number(1) != kClientHelloMessage || reader.number(3) != message.size() - kHeadBytes) return false;
  hello.legacy_version = static_cast<uint16_t>(reader.number(2));
  reader.take(32);  // random
  if (reader.vector(1).size() > 32) return false;  // session id
  if (!read_numbers(reader.vector(2), hello.ciphers)) return false;
  const std::string_view compression = reader.vector(1);
  if (!reader.ok() || hello.ciphers.empty() || compression.empty() || hello.legacy_version >> 8 != 3) return false;
  if (reader.empty()) return true;  // TLS 1.0 to 1.2 may come without extensions
  Reader extensions(reader.vector(2));
  if (!reader.ok() || !reader.empty()) return false;
  while (!extensions.empty()) {
    const uint16_t type = static_cast<uint16_t>(extensions.number(2));
    const std::string_view body = extensions.vector(2);
    if (!extensions.ok()) return false;
    if (std::find(hello.extensions.begin(), hello.extensions.end(), type) != hello.extensions.end()) return false;
    hello.extensions.push_back(type);
    if (hello.extensions.size() > 256) return false;  // keeps the search above short
    if (!read_extension(type, body, hello)) return false;
  }
  return true;
}

ClientHelloReader::Verdict ClientHelloReader::feed(std::string_view bytes) {
  const size_t offered = bytes.size();
  while (verdict_ == Verdict::kMore && !bytes.empty()) {
    if (fragment_left_ == 0 && !feed_header(bytes)) break;
    if (fragment_left_ != 0) feed_fragment(bytes);
  }
  bytes_seen_ += offered - bytes.size();
  return verdict_;
}

// Collects the five bytes of a record's header; false while there are fewer, or when they are none. What is wrong is
// found with the byte that shows it: a client of another protocol may wait for an answer after fewer than five.
bool ClientHelloReader::feed_header(std::string_view& bytes) {
  while (header_size_ < sizeof header_ && !bytes.empty()) {
    header_[header_size_++] = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (header_[0] != kHandshakeRecord || (header_size_ > 1 && header_[1] != 3)) {
      verdict_ = Verdict::kNotTls;
      return false;
    }
  }
  if (header_size_ < sizeof header_) return false;
  header_size_ = 0;
  fragment_left_ = static_cast<uint32_t>(header_[3] << 8 | header_[4]);
  if (fragment_left_ == 0 || fragment_left_ > kFragmentBytesMax) {  // an empty handshake record is not allowed
    verdict_ = Verdict::kNotTls;
    return false;
  }
  return true;
}

void ClientHelloReader::feed_fragment(std::string_view& bytes) {
  while (verdict_ == Verdict::kMore && fragment_left_ > 0 && !bytes.empty()) {
    // The head first, alone: it says how much belongs to the message.
    size_t wanted = kHeadBytes;
    if (message_.size() >= kHeadBytes) {
      wanted += static_cast<uint8_t>(message_[1]) << 16 | static_cast<uint8_t>(message_[2]) << 8 |
                static_cast<uint8_t>(message_[3]);
    }
    const size_t part = std::min({bytes.size(), size_t{fragment_left_}, wanted - message_.size()});
    message_.append(bytes.substr(0, part));
    bytes.remove_prefix(part);
    fragment_left_ -= static_cast<uint32_t>(part);
    if (message_[0] != kClientHelloMessage) {
      verdict_ = Verdict::kNotTls;
    } else if (message_.size() == kHeadBytes && wanted == kHeadBytes) {
      const size_t length = static_cast<uint8_t>(message_[1]) << 16 | static_cast<uint8_t>(message_[2]) << 8 |
                            static_cast<uint8_t>(message_[3]);
      if (length + kHeadBytes > limit_) verdict_ = Verdict::kTooLarge;
      if (length == 0) verdict_ = Verdict::kNotTls;
    } else if (message_.size() == wanted) {
      finish();
    }
  }
}

void ClientHelloReader::finish() {
  verdict_ = parse_client_hello(message_, hello_) ? Verdict::kDone : Verdict::kNotTls;
  message_ = std::string();
  if (verdict_ == Verdict::kNotTls) hello_ = ClientHello();
}

}  // namespace millrace::tls
