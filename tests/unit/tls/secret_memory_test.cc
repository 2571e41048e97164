#include "tls/secret_memory.h"

#include <gtest/gtest.h>
#include <openssl/mem.h>
#include <openssl/rsa.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "tls/certificate.h"
#include "unit/tls/pki.h"

namespace millrace::tls {
namespace {

// AddressSanitizer wants all memory for itself.
#ifndef __SANITIZE_ADDRESS__

// What the kernel says of the mapping that has this address: "dd" is what core dumps leave out.
std::string mapping_flags(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = address >= begin && address < end;
    if (inside && line.starts_with("VmFlags:")) return line;
  }
  return "";
}

TEST(SecretMemory, CoreDumpsLeaveItOut) {
  void* ordinary = OPENSSL_malloc(100);
  void* secret = nullptr;
  {
    const SecretScope scope;
    secret = OPENSSL_malloc(100);
  }
  EXPECT_NE(mapping_flags(secret).find(" dd"), std::string::npos) << mapping_flags(secret);
  EXPECT_EQ(mapping_flags(ordinary).find(" dd"), std::string::npos) << mapping_flags(ordinary);
  EXPECT_FALSE(is_secret_memory(ordinary));
  OPENSSL_free(secret);
  OPENSSL_free(ordinary);
}

TEST(SecretMemory, BlocksAreWipedAndUsedAgain) {
  const SecretScope scope;
  auto* first = static_cast<char*>(OPENSSL_malloc(100));
  std::memset(first, 'x', 100);
  OPENSSL_free(first);
  auto* second = static_cast<char*>(OPENSSL_malloc(100));
  EXPECT_EQ(second, first);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(second[i], 0) << i;
  OPENSSL_free(second);
}

TEST(SecretMemory, BlocksGrowWithWhatIsInThem) {
  const SecretScope scope;
  auto* text = static_cast<char*>(OPENSSL_malloc(10));
  std::memcpy(text, "0123456789", 10);
  text = static_cast<char*>(OPENSSL_realloc(text, 5000));
  EXPECT_EQ(std::string(text, 10), "0123456789");
  EXPECT_TRUE(is_secret_memory(text));
  OPENSSL_free(text);
}

TEST(SecretMemory, WhatDoesNotFitIsOrdinaryMemory) {
  const SecretScope scope;
  void* huge = OPENSSL_malloc(64 << 20);
  EXPECT_FALSE(is_secret_memory(huge));
  OPENSSL_free(huge);
}

TEST(SecretMemory, AnotherThreadMayFreeWhatOneMade) {
  void* secret = nullptr;
  {
    const SecretScope scope;
    secret = OPENSSL_malloc(100);
  }
  std::thread([&] {
    void* own = OPENSSL_malloc(100);
    EXPECT_FALSE(is_secret_memory(own));
    OPENSSL_free(own);
    OPENSSL_free(secret);
  }).join();
}

TEST(SecretMemory, KeysOfCertificatesLieThere) {
  const test::Issued issued = test::Issued::authority("Root").issue({.common_name = "a", .sans = "DNS:a.test"});
  const base::Result<Certificate> certificate = load_certificate(issued.options());
  ASSERT_TRUE(certificate.ok());
  EXPECT_TRUE(is_secret_memory(certificate->key.get()));
  EXPECT_FALSE(is_secret_memory(certificate->leaf.get()));
}

#endif

TEST(Wiping, LeavesNothingOfAText) {
  std::string text = "a password that is longer than a small string";
  const char* bytes = text.data();
  wipe(text);
  for (size_t i = 0; i < text.size(); ++i) ASSERT_EQ(bytes[i], 0);
}

}  // namespace
}  // namespace millrace::tls
