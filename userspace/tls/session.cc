#include "tls/session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>

#include "stats/schema_tls.h"
#include "tls/errors.h"
#include "tls/facts.h"
#include "tls/x509.h"

namespace millrace::tls {
namespace {

constexpr size_t kRecordHeadBytes = 5;
constexpr size_t kRecordBodyBytesMax = 16384 + 2048;  // TLS 1.2; TLS 1.3 allows less
constexpr size_t kPlainBytesMax = 16384;              // of one record
constexpr size_t kPlainBytesUncut = 8192;             // in one piece: worth a record

// The first bytes of the wire, at most `size`, copied together: returns how many.
size_t peek(const base::Buffer& wire, uint8_t* out, size_t size) {
  size_t have = 0;
  for (size_t i = 0; i < wire.slice_count() && have < size; ++i) {
    const std::string_view piece = wire.slice(i).view().substr(0, size - have);
    std::memcpy(out + have, piece.data(), piece.size());
    have += piece.size();
  }
  return have;
}

// The size of the record at the front of the wire, when all of it is there: 0 otherwise. What does not look like a
// record is handed over as it is, for BoringSSL to say what is wrong with it; that shows with the first byte, and
// another protocol may never send five.
size_t whole_record(const base::Buffer& wire) {
  uint8_t head[kRecordHeadBytes];
  const size_t have = peek(wire, head, sizeof head);
  if (have == 0) return 0;
  if (head[0] < 20 || head[0] > 24 || (have > 1 && head[1] != 3)) return wire.size();
  if (have < sizeof head) return 0;
  const size_t body = static_cast<size_t>(head[3]) << 8 | head[4];
  if (body > kRecordBodyBytesMax) return wire.size();
  return wire.size() >= kRecordHeadBytes + body ? kRecordHeadBytes + body : 0;
}

// The counter whose name is prefix + name, between two of the schema.
void count(stats::StatShard& stats, std::string_view prefix, const char* name) {
  if (name == nullptr) return;
  const std::string_view wanted = name;
  for (uint16_t i = 0; i < stats::tls::kStatCount; ++i) {
    const std::string_view stat = stats::tls::kStats[i].name;
    if (stat.size() == prefix.size() + wanted.size() && stat.starts_with(prefix) && stat.ends_with(wanted)) {
      stats.inc(i);
      return;
    }
  }
}

}  // namespace

// The BIO between BoringSSL and the buffers of the call that is under way.
struct SessionBio {
  static int read(BIO* bio, char* out, int size) {
    Session& session = *static_cast<Session*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    size_t left = std::min(static_cast<size_t>(size), session.readable_bytes_);
    if (left == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t taken = left;
    while (left > 0) {
      const std::string_view front = session.wire_in_->front();
      const size_t part = std::min(left, front.size());
      std::memcpy(out, front.data(), part);
      session.wire_in_->drain(part);
      out += part;
      left -= part;
    }
    session.readable_bytes_ -= taken;
    return static_cast<int>(taken);
  }
  static int write(BIO* bio, const char* bytes, int size) {
    Session& session = *static_cast<Session*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    session.wire_out_->append(bytes, static_cast<size_t>(size));
    return size;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "millrace");
      BIO_meth_set_read(method, read);
      BIO_meth_set_write(method, write);
      BIO_meth_set_ctrl(method, control);
      BIO_meth_set_create(method, create);
      return method;
    }();
    return made;
  }
};

Session::Session(std::shared_ptr<const ContextCore> core, const net::TransportFactory::Ask& ask, bool logs_keys)
    : core_(std::move(core)),
      ssl_(SSL_new(core_->first())),
      stats_(core_->worker_stats(ask.worker)),
      logs_keys_(logs_keys) {
  MILLRACE_ASSERT(ssl_ != nullptr);
  SSL* ssl = ssl_.get();
  SSL_set_app_data(ssl, this);
  BIO* bio = BIO_new(SessionBio::method());
  BIO_set_data(bio, this);
  SSL_set_bio(ssl, bio, bio);
  if (!core_->certificates().empty()) certificate_ = &core_->certificates().front();
  if (core_->is_server()) {
    SSL_set_accept_state(ssl);
  } else {
    SSL_set_connect_state(ssl);
    set_up_client(ask);
  }
  SSL_set_shed_handshake_config(ssl, 1);
}

Session::~Session() = default;

void Session::set_up_client(const net::TransportFactory::Ask& ask) {
  SSL* ssl = ssl_.get();
  const ClientOptions& options = core_->client();
  std::string name(options.sni);
  if (!ask.server_name.empty()) {
    name = ask.server_name;
  } else if (options.auto_host_sni && !ask.host_name.empty()) {
    name = ask.host_name;
  }
  if (!name.empty() && !SSL_set_tlsext_host_name(ssl, name.c_str())) {
    error_ = base::Error{base::ErrorCode::kInvalidArgument, base::Side::kUpstream, 0,
                         "TLS_error:the server name cannot be sent: " + name};
    ERR_clear_error();
  }
  const bool configured = !options.common.alpn.empty();
  if (!ask.verify_name.empty()) verify_name_ = std::make_unique<const std::string>(ask.verify_name);
  const std::span<const std::string> alpn = !ask.alpn.empty() || configured ? ask.alpn : ask.alpn_fallback;
  if (!alpn.empty()) {
    base::Result<std::string> wire = alpn_wire_form(alpn);
    if (wire) SSL_set_alpn_protos(ssl, reinterpret_cast<const uint8_t*>(wire->data()), wire->size());
  }
  if (options.allow_renegotiation) SSL_set_renegotiate_mode(ssl, ssl_renegotiate_freely);
  SSL_set_enforce_rsa_key_usage(ssl, options.enforce_rsa_key_usage);
  if (!core_->sessions().enabled()) return;
  bssl::UniquePtr<SSL_SESSION> session = core_->sessions().take(session_name(name));
  if (session != nullptr) SSL_set_session(ssl, session.get());
}

std::string Session::session_name(std::string_view server_name) const {
  std::string name(server_name);
  if (verify_name_ != nullptr) name.append(1, '\0').append(*verify_name_);
  return name;
}

Session& Session::of(const SSL* ssl) {
  return *static_cast<Session*>(SSL_get_app_data(ssl));
}

ssl_select_cert_result_t Session::select_certificate(const SSL_CLIENT_HELLO* hello) {
  const bool may_speak_tls13 = SSL_CTX_get_max_proto_version(core_->first()) == TLS1_3_VERSION;
  const CertificateSelector::Client client = CertificateSelector::read_client(hello, may_speak_tls13);
  const CertificateSelector::Choice choice = core_->selector().choose(client, std::chrono::system_clock::now());
  if (client.wants_staple) stats_.inc(stats::tls::kOcspStapleRequests);
  certificate_ = &core_->certificates()[choice.certificate];
  switch (choice.staple) {
    case CertificateSelector::Staple::kNotAsked: break;
    case CertificateSelector::Staple::kOmit: stats_.inc(stats::tls::kOcspStapleOmitted); break;
    case CertificateSelector::Staple::kRefuse: stats_.inc(stats::tls::kOcspStapleFailed); return ssl_select_cert_error;
    case CertificateSelector::Staple::kSend: stats_.inc(stats::tls::kOcspStapleResponses); break;
  }
  if (choice.certificate != 0) SSL_set_SSL_CTX(ssl_.get(), core_->context_of(choice.certificate));
  if (choice.staple == CertificateSelector::Staple::kSend) {
    const std::string& der = certificate_->ocsp->der;
    SSL_set_ocsp_response(ssl_.get(), reinterpret_cast<const uint8_t*>(der.data()), der.size());
  }
  return ssl_select_cert_success;
}

ssl_verify_result_t Session::verify_peer(uint8_t* alert) {
  std::vector<CRYPTO_BUFFER*> chain;
  const STACK_OF(CRYPTO_BUFFER)* sent = SSL_get0_peer_certificates(ssl_.get());
  for (size_t i = 0; sent != nullptr && i < sk_CRYPTO_BUFFER_num(sent); ++i) {
    chain.push_back(sk_CRYPTO_BUFFER_value(sent, i));
  }
  const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  const std::string_view verify_name = verify_name_ == nullptr ? std::string_view() : *verify_name_;
  Validator::Verdict verdict = core_->validator().judge(chain, name == nullptr ? "" : name, verify_name, stats_);
  peer_validated_ = verdict.validated;
  if (verdict.accepted) return ssl_verify_ok;
  refusal_ = std::move(verdict.details);
  *alert = static_cast<uint8_t>(verdict.alert);
  return ssl_verify_invalid;
}

void Session::keep(bssl::UniquePtr<SSL_SESSION> session) const {
  const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  core_->sessions().add(session_name(name == nullptr ? "" : name), std::move(session));
}

void Session::log_key(std::string_view line) const {
  if (logs_keys_) core_->key_log().write(line);
}

base::Result<void> Session::start(base::Buffer& wire_out) {
  if (error_.has_value()) return *error_;
  if (core_->is_server()) return {};
  wire_out_ = &wire_out;
  readable_bytes_ = 0;
  return handshake();
}

base::Result<void> Session::receive(base::Buffer& wire_in, base::Buffer& plain_out, base::Buffer& wire_out) {
  if (error_.has_value()) return *error_;
  wire_in_ = &wire_in;
  wire_out_ = &wire_out;
  return read_records(wire_in, plain_out);
}

base::Result<void> Session::read_records(base::Buffer& wire_in, base::Buffer& plain_out) {
  while (state_ != State::kEnded) {
    readable_bytes_ = whole_record(wire_in);
    if (readable_bytes_ == 0) return {};
    const size_t record_bytes = readable_bytes_;
    if (state_ == State::kHandshaking) {
      if (base::Result<void> done = handshake(); !done) return done;
      if (state_ == State::kHandshaking || readable_bytes_ == 0) continue;
    }
    if (base::Result<void> done = read_record(std::min(record_bytes, kPlainBytesMax), plain_out); !done) return done;
  }
  wire_in.clear();  // whatever follows the end means nothing
  return {};
}

// One record, which is there as a whole: gives plain bytes or none, changes keys, ends the stream.
base::Result<void> Session::read_record(size_t plain_bytes_max, base::Buffer& plain_out) {
  do {
    char* room = plain_out.reserve(plain_bytes_max);
    const int result = SSL_read(ssl_.get(), room, static_cast<int>(plain_bytes_max));
    if (result > 0) {
      plain_out.commit(static_cast<size_t>(result));
      continue;
    }
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        if (plain_out.empty()) plain_out.clear();  // the room that was not needed
        return {};
      case SSL_ERROR_ZERO_RETURN: state_ = State::kEnded; return {};
      default: return failed();
    }
  } while (readable_bytes_ > 0 || SSL_pending(ssl_.get()) > 0);
  return {};
}

base::Result<void> Session::handshake() {
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    state_ = State::kEstablished;
    count_handshake();
    return {};
  }
  return SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ ? base::Result<void>() : failed();
}

// Whether a server's RSA certificate is not meant for what it was used for (RFC 5280, 4.2.1.3), which is let pass
// without enforce_rsa_key_usage. BoringSSL insists on it with TLS 1.3 and with ECDSA.
bool Session::key_usage_invalid() const {
  const SSL* ssl = ssl_.get();
  if (core_->is_server() || SSL_version(ssl) >= TLS1_3_VERSION || SSL_session_reused(ssl)) return false;
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return false;
  const int kind = SSL_CIPHER_get_auth_nid(SSL_get_current_cipher(ssl));
  const bool encrypts = SSL_CIPHER_get_kx_nid(SSL_get_current_cipher(ssl)) == NID_kx_rsa;
  if (kind != NID_auth_rsa && !encrypts) return false;
  bssl::UniquePtr<X509> leaf = parse_certificate(sk_CRYPTO_BUFFER_value(chain, 0));
  const uint32_t needed = encrypts ? KU_KEY_ENCIPHERMENT : KU_DIGITAL_SIGNATURE;
  return leaf != nullptr && (X509_get_key_usage(leaf.get()) & needed) == 0;  // all bits, if it does not say
}

void Session::count_handshake() {
  const SSL* ssl = ssl_.get();
  stats_.inc(stats::tls::kHandshake);
  const bool is_reused = SSL_session_reused(ssl);
  if (is_reused) stats_.inc(stats::tls::kSessionReused);
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  const bool has_peer = chain != nullptr && sk_CRYPTO_BUFFER_num(chain) > 0;
  if (!has_peer) stats_.inc(stats::tls::kNoCertificate);
  // It was judged when the session was made, by the same rules: the session id context, or the cache, is theirs.
  if (is_reused && has_peer) peer_validated_ = core_->validator().vouches();
  if (key_usage_invalid()) stats_.inc(stats::tls::kWasKeyUsageInvalid);
  count(stats_, "ciphers.", SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)));
  count(stats_, "versions.", SSL_get_version(ssl));
  const uint16_t curve = SSL_get_curve_id(ssl);
  if (curve != 0) count(stats_, "curves.", SSL_get_curve_name(curve));
  const uint16_t algorithm = SSL_get_peer_signature_algorithm(ssl);
  if (algorithm != 0) count(stats_, "sigalgs.", SSL_get_signature_algorithm_name(algorithm, 1));
}

// The next record's bytes: where they lie when many lie together, or gathered in scratch, since a record costs more
// than a copy of small pieces does. A large piece is not cut to fill a record up: what is left of it would want filling
// up too, and so on, until all of a long body was copied.
std::string_view Session::next_plain(base::Buffer& plain_in, char* scratch) const {
  const std::string_view front = plain_in.front();
  if (front.size() >= kPlainBytesUncut || front.size() == plain_in.size()) return front.substr(0, kPlainBytesMax);
  size_t size = 0;
  for (size_t i = 0; i < plain_in.slice_count() && size < kPlainBytesMax; ++i) {
    const std::string_view piece = plain_in.slice(i).view();
    const size_t part = std::min(piece.size(), kPlainBytesMax - size);
    if (part < piece.size() && piece.size() >= kPlainBytesUncut) break;
    std::memcpy(scratch + size, piece.data(), part);
    size += part;
  }
  return {scratch, size};
}

base::Result<void> Session::send(base::Buffer& plain_in, base::Buffer& wire_out, size_t limit_bytes) {
  if (error_.has_value()) return *error_;
  MILLRACE_DCHECK(established() && !said_close_notify_);
  wire_out_ = &wire_out;
  readable_bytes_ = 0;
  char scratch[kPlainBytesMax];
  const size_t before = wire_out.size();
  while (!plain_in.empty() && wire_out.size() - before < limit_bytes) {
    const std::string_view plain = next_plain(plain_in, scratch);
    if (plain.empty()) {  // an empty slice in front
      plain_in.drain(0);
      continue;
    }
    const int written = SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size()));
    if (written <= 0) return failed();
    plain_in.drain(static_cast<size_t>(written));
  }
  return {};
}

void Session::close_notify(base::Buffer& wire_out) {
  if (error_.has_value() || said_close_notify_ || !established()) return;
  said_close_notify_ = true;
  wire_out_ = &wire_out;
  readable_bytes_ = 0;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

base::Result<void> Session::failed() {
  state_ = State::kFailed;
  QueuedErrors errors = drain_errors(refusal_);
  if (errors.peer_sent_no_certificate) stats_.inc(stats::tls::kFailVerifyNoCert);
  if (!errors.text.empty() && !errors.peer_sent_no_certificate && !errors.certificate_refused && !errors.system) {
    stats_.inc(stats::tls::kConnectionError);
  }
  error_ = base::Error{base::ErrorCode::kProtocol, core_->is_server() ? base::Side::kDownstream : base::Side::kUpstream,
                       0, std::move(errors.text)};
  return *error_;
}

std::string_view Session::protocol() const {
  const uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::shared_ptr<const net::TransportFacts> Session::facts() const {
  if (!established()) return facts_;
  if (facts_ == nullptr) facts_ = std::make_shared<Facts>(core_, ssl_.get(), certificate_, peer_validated_);
  return facts_;
}

}  // namespace millrace::tls
