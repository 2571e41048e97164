#include "tls/ocsp.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/mem.h>

#include <ctime>

#include "tls/errors.h"

namespace millrace::tls {
namespace {

constexpr uint8_t kBasicResponse[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01};
constexpr unsigned kContext0 = CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0;

// "20260102030405Z"; fractions are not allowed in DER of OCSP.
bool read_time(CBS& from, base::SystemTime& time) {
  CBS text;
  if (!CBS_get_asn1(&from, &text, CBS_ASN1_GENERALIZEDTIME) || CBS_len(&text) != 15) return false;
  const char* digits = reinterpret_cast<const char*>(CBS_data(&text));
  if (digits[14] != 'Z') return false;
  int fields[7];
  for (int i = 0; i < 7; ++i) {
    const char high = digits[2 * i], low = digits[2 * i + 1];
    if (high < '0' || high > '9' || low < '0' || low > '9') return false;
    fields[i] = (high - '0') * 10 + (low - '0');
  }
  std::tm calendar{};
  calendar.tm_year = fields[0] * 100 + fields[1] - 1900;
  calendar.tm_mon = fields[2] - 1;
  calendar.tm_mday = fields[3];
  calendar.tm_hour = fields[4];
  calendar.tm_min = fields[5];
  calendar.tm_sec = fields[6];
  time = std::chrono::system_clock::from_time_t(timegm(&calendar));
  return true;
}

bool read_serial(CBS& certificate_id, std::string& serial) {
  CBS number;
  if (!CBS_get_asn1(&certificate_id, nullptr, CBS_ASN1_SEQUENCE) ||     // hash algorithm
      !CBS_get_asn1(&certificate_id, nullptr, CBS_ASN1_OCTETSTRING) ||  // hash of the issuer's name
      !CBS_get_asn1(&certificate_id, nullptr, CBS_ASN1_OCTETSTRING) ||  // hash of the issuer's key
      !CBS_get_asn1(&certificate_id, &number, CBS_ASN1_INTEGER)) {
    return false;
  }
  bssl::UniquePtr<BIGNUM> value(BN_bin2bn(CBS_data(&number), CBS_len(&number), nullptr));
  bssl::UniquePtr<char> digits(value == nullptr ? nullptr : BN_bn2hex(value.get()));
  if (digits == nullptr) return false;
  serial = digits.get();
  return true;
}

bool read_single_response(CBS& responses, OcspResponse& out) {
  CBS single, certificate_id, next;
  int has_next = 0;
  unsigned status_tag = 0;
  if (!CBS_get_asn1(&responses, &single, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&single, &certificate_id, CBS_ASN1_SEQUENCE) || !read_serial(certificate_id, out.serial) ||
      !CBS_get_any_asn1_element(&single, nullptr, &status_tag, nullptr) || !read_time(single, out.this_update) ||
      !CBS_get_optional_asn1(&single, &next, &has_next, kContext0)) {
    return false;
  }
  if (has_next) {
    base::SystemTime time;
    if (!read_time(next, time)) return false;
    out.next_update = time;
  }
  return true;
}

// BasicOCSPResponse: what is signed, up to the list of responses.
bool open_responses(CBS& basic, CBS& responses) {
  CBS sequence, signed_data;
  base::SystemTime produced;
  return CBS_get_asn1(&basic, &sequence, CBS_ASN1_SEQUENCE) &&
         CBS_get_asn1(&sequence, &signed_data, CBS_ASN1_SEQUENCE) &&
         CBS_get_optional_asn1(&signed_data, nullptr, nullptr, kContext0) &&   // version
         CBS_get_any_asn1_element(&signed_data, nullptr, nullptr, nullptr) &&  // who responds
         read_time(signed_data, produced) && CBS_get_asn1(&signed_data, &responses, CBS_ASN1_SEQUENCE);
}

}  // namespace

base::Result<OcspResponse> parse_ocsp_response(std::string der) {
  OcspResponse out;
  CBS all, response, status, outer, body, oid, basic, responses;
  CBS_init(&all, reinterpret_cast<const uint8_t*>(der.data()), der.size());
  uint8_t code = 0;
  if (!CBS_get_asn1(&all, &response, CBS_ASN1_SEQUENCE) || CBS_len(&all) != 0 ||
      !CBS_get_asn1(&response, &status, CBS_ASN1_ENUMERATED) || !CBS_get_u8(&status, &code)) {
    return invalid("it is no OCSP response in DER");
  }
  if (code != 0) return invalid("the OCSP responder answered with error " + std::to_string(code));
  if (!CBS_get_asn1(&response, &outer, kContext0) || !CBS_get_asn1(&outer, &body, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&body, &oid, CBS_ASN1_OBJECT) || !CBS_mem_equal(&oid, kBasicResponse, sizeof kBasicResponse) ||
      !CBS_get_asn1(&body, &basic, CBS_ASN1_OCTETSTRING) || !open_responses(basic, responses) ||
      !read_single_response(responses, out)) {
    return invalid("it is no basic OCSP response");
  }
  if (CBS_len(&responses) != 0) return invalid("the OCSP response is about more than one certificate");
  out.der = std::move(der);
  return out;
}

}  // namespace millrace::tls
