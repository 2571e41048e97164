// TLS statistics, with Envoy's names (configuration/listeners/stats, clusters/cluster_manager/cluster_stats):
// tls   listener.<address>.ssl. and cluster.<name>.ssl.
// Envoy makes the counters of ciphers, versions, curves and signature algorithms when they first count; here they are
// the ones that the TLS library has, shown once they were used.
#pragma once
#include "stats/schema.h"

// clang-format off
#define MILLRACE_TLS_STATS(X) \
  X(kHandshake, "handshake", kCounter, kNone) \
  X(kConnectionError, "connection_error", kCounter, kNone) \
  X(kSessionReused, "session_reused", kCounter, kNone) \
  X(kNoCertificate, "no_certificate", kCounter, kNone) \
  X(kFailVerifyNoCert, "fail_verify_no_cert", kCounter, kNone) \
  X(kFailVerifyError, "fail_verify_error", kCounter, kNone) \
  X(kFailVerifySan, "fail_verify_san", kCounter, kNone) \
  X(kFailVerifyCertHash, "fail_verify_cert_hash", kCounter, kNone) \
  X(kVersionTls13, "versions.TLSv1.3", kCounter, kNone, kOnceUsed) \
  X(kVersionTls12, "versions.TLSv1.2", kCounter, kNone, kOnceUsed) \
  X(kVersionTls11, "versions.TLSv1.1", kCounter, kNone, kOnceUsed) \
  X(kVersionTls10, "versions.TLSv1", kCounter, kNone, kOnceUsed) \
  X(kCurveX25519, "curves.X25519", kCounter, kNone, kOnceUsed) \
  X(kCurveP256, "curves.P-256", kCounter, kNone, kOnceUsed) \
  X(kCipherAes128GcmSha256, "ciphers.TLS_AES_128_GCM_SHA256", kCounter, kNone, kOnceUsed) \
  X(kCipherAes256GcmSha384, "ciphers.TLS_AES_256_GCM_SHA384", kCounter, kNone, kOnceUsed) \
  X(kCipherChacha20, "ciphers.TLS_CHACHA20_POLY1305_SHA256", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheEcdsaAes128Gcm, "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheRsaAes128Gcm, "ciphers.ECDHE-RSA-AES128-GCM-SHA256", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheEcdsaAes256Gcm, "ciphers.ECDHE-ECDSA-AES256-GCM-SHA384", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheRsaAes256Gcm, "ciphers.ECDHE-RSA-AES256-GCM-SHA384", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheEcdsaChacha20, "ciphers.ECDHE-ECDSA-CHACHA20-POLY1305", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheRsaChacha20, "ciphers.ECDHE-RSA-CHACHA20-POLY1305", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheEcdsaAes128Sha, "ciphers.ECDHE-ECDSA-AES128-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheRsaAes128Sha, "ciphers.ECDHE-RSA-AES128-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheEcdsaAes256Sha, "ciphers.ECDHE-ECDSA-AES256-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherEcdheRsaAes256Sha, "ciphers.ECDHE-RSA-AES256-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherRsaAes128Gcm, "ciphers.AES128-GCM-SHA256", kCounter, kNone, kOnceUsed) \
  X(kCipherRsaAes256Gcm, "ciphers.AES256-GCM-SHA384", kCounter, kNone, kOnceUsed) \
  X(kCipherRsaAes128Sha, "ciphers.AES128-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherRsaAes256Sha, "ciphers.AES256-SHA", kCounter, kNone, kOnceUsed) \
  X(kCipherRsaDes3Sha, "ciphers.DES-CBC3-SHA", kCounter, kNone, kOnceUsed) \
  X(kCurveP224, "curves.P-224", kCounter, kNone, kOnceUsed) \
  X(kCurveP384, "curves.P-384", kCounter, kNone, kOnceUsed) \
  X(kCurveP521, "curves.P-521", kCounter, kNone, kOnceUsed) \
  X(kCurveCecpq2, "curves.CECPQ2", kCounter, kNone, kOnceUsed) \
  X(kSigalgEcdsaP256, "sigalgs.ecdsa_secp256r1_sha256", kCounter, kNone, kOnceUsed) \
  X(kSigalgEcdsaP384, "sigalgs.ecdsa_secp384r1_sha384", kCounter, kNone, kOnceUsed) \
  X(kSigalgEcdsaP521, "sigalgs.ecdsa_secp521r1_sha512", kCounter, kNone, kOnceUsed) \
  X(kSigalgPssSha256, "sigalgs.rsa_pss_rsae_sha256", kCounter, kNone, kOnceUsed) \
  X(kSigalgPssSha384, "sigalgs.rsa_pss_rsae_sha384", kCounter, kNone, kOnceUsed) \
  X(kSigalgPssSha512, "sigalgs.rsa_pss_rsae_sha512", kCounter, kNone, kOnceUsed) \
  X(kSigalgRsaSha256, "sigalgs.rsa_pkcs1_sha256", kCounter, kNone, kOnceUsed) \
  X(kSigalgRsaSha384, "sigalgs.rsa_pkcs1_sha384", kCounter, kNone, kOnceUsed) \
  X(kSigalgRsaSha512, "sigalgs.rsa_pkcs1_sha512", kCounter, kNone, kOnceUsed) \
  X(kSigalgRsaSha1, "sigalgs.rsa_pkcs1_sha1", kCounter, kNone, kOnceUsed) \
  X(kSigalgEcdsaSha1, "sigalgs.ecdsa_sha1", kCounter, kNone, kOnceUsed) \
  X(kSigalgEd25519, "sigalgs.ed25519", kCounter, kNone, kOnceUsed) \
  X(kOcspStapleFailed, "ocsp_staple_failed", kCounter, kNone) \
  X(kOcspStapleOmitted, "ocsp_staple_omitted", kCounter, kNone) \
  X(kOcspStapleResponses, "ocsp_staple_responses", kCounter, kNone) \
  X(kOcspStapleRequests, "ocsp_staple_requests", kCounter, kNone) \
  X(kWasKeyUsageInvalid, "was_key_usage_invalid", kCounter, kNone)
// clang-format on

namespace millrace::stats::tls {
MILLRACE_STAT_SCHEMA("tls", MILLRACE_TLS_STATS)
}
