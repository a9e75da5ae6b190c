// SHA-256 (FIPS 180-4) through OpenSSL: the only file that includes it is sha256.cc.
// Thread safety: all functions may be called from any thread, also after a fork.
// Errors: std::bad_alloc, never a wrong digest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace barcache {

using Sha256Digest = std::array<uint8_t, 32>;

Sha256Digest Sha256(std::span<const uint8_t> bytes);

// The digest of bytes that come piece by piece. Not two threads at once.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;
  void Append(std::span<const uint8_t> bytes);
  // REQUIRES: called once, and no Append after it.
  Sha256Digest Finish();

 private:
  void* context_;
};

// Lower-case hex, two letters a byte: 64 for a digest.
std::string HexEncode(std::span<const uint8_t> bytes);
std::string Sha256Hex(std::span<const uint8_t> bytes);
std::string Sha256Hex(std::string_view text);

}  // namespace barcache
