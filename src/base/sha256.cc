// SHA-256 by OpenSSL's EVP interface, which picks SHA-NI where the processor has it.
//
// The algorithm is fetched once and a context is kept per thread: a fetch for every digest would
// cost more than hashing a small file.
#include "base/sha256.h"

#include <openssl/evp.h>
#include <pthread.h>

#include <memory>
#include <new>

namespace barcache {
namespace {

extern "C" void FreeContext(void* context) { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

pthread_key_t NewKey() {
  pthread_key_t key;
  if (pthread_key_create(&key, FreeContext) != 0) throw std::bad_alloc();
  return key;
}

// Not `thread_local`: where there is no memory to note its destructor, glibc ends the process.
EVP_MD_CTX* ContextOfThread() {
  static const pthread_key_t key = NewKey();
  if (void* known = pthread_getspecific(key)) return static_cast<EVP_MD_CTX*>(known);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  if (context == nullptr || pthread_setspecific(key, context) != 0) {
    EVP_MD_CTX_free(context);
    throw std::bad_alloc();
  }
  return context;
}

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

// Memory is all that can fail; never a wrong digest.
void Require(int result) {
  if (result != 1) throw std::bad_alloc();
}

void Begin(EVP_MD_CTX* context) {
  static const EVP_MD* const algorithm = FetchSha256();
  Require(EVP_DigestInit_ex(context, algorithm, nullptr));
}

void AppendTo(EVP_MD_CTX* context, std::span<const uint8_t> bytes) {
  Require(EVP_DigestUpdate(context, bytes.data(), bytes.size()));
}

Sha256Digest End(EVP_MD_CTX* context) {
  Sha256Digest digest;
  Require(EVP_DigestFinal_ex(context, digest.data(), nullptr));
  return digest;
}

struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

Sha256Digest Sha256(std::span<const uint8_t> bytes) {
  EVP_MD_CTX* const context = ContextOfThread();
  Begin(context);
  AppendTo(context, bytes);
  return End(context);
}

Sha256Stream::Sha256Stream() {
  std::unique_ptr<EVP_MD_CTX, ContextFree> context(EVP_MD_CTX_new());
  if (context == nullptr) throw std::bad_alloc();
  Begin(context.get());
  context_ = context.release();
}

Sha256Stream::~Sha256Stream() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256Stream::Append(std::span<const uint8_t> bytes) {
  AppendTo(static_cast<EVP_MD_CTX*>(context_), bytes);
}

Sha256Digest Sha256Stream::Finish() { return End(static_cast<EVP_MD_CTX*>(context_)); }

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
