// SHA-256 by OpenSSL's EVP interface, which picks SHA-NI where the processor has it.
//
// The algorithm is fetched once and a context is kept per thread: a fetch for every digest would
// cost more than hashing a small file.
#include "base/sha256.h"

#include <openssl/evp.h>

#include <memory>
#include <new>

namespace barcache {
namespace {

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Never freed: digests may still be asked for while the process runs down.
const EVP_MD* FetchSha256() {
  EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (algorithm == nullptr) {
    // An openssl.cnf can take the default provider away. A library context of our own reads none.
    algorithm = EVP_MD_fetch(OSSL_LIB_CTX_new(), "SHA256", nullptr);
  }
  if (algorithm == nullptr) throw std::bad_alloc();  // The static below is then tried again.
  return algorithm;
}

}  // namespace

Sha256Digest Sha256(std::span<const uint8_t> bytes) {
  static const EVP_MD* const algorithm = FetchSha256();
  thread_local const std::unique_ptr<EVP_MD_CTX, ContextDeleter> context(EVP_MD_CTX_new());
  Sha256Digest digest;
  if (context == nullptr || EVP_DigestInit_ex(context.get(), algorithm, nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) {
    throw std::bad_alloc();  // Memory is all that can fail here; never return a wrong digest.
  }
  return digest;
}

std::string HexEncode(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

std::string Sha256Hex(std::span<const uint8_t> bytes) { return HexEncode(Sha256(bytes)); }

std::string Sha256Hex(std::string_view text) {
  return Sha256Hex(
      std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace barcache
