// Any texts as a request and any text as a key: the name of a file never leaves its directory.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "barcache/cache_key.h"
#include "base/file_system.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace barcache;
  const std::string text(reinterpret_cast<const char*>(data), size);
  DataRequest request;
  std::string* const parts[] = {&request.start_date, &request.end_date, &request.resolution,
                                &request.data_source};
  size_t part = 0;
  size_t begin = 0;
  // Fields end at a byte that no UTF-8 has; the fifth and later ones are symbols.
  for (size_t end = text.find('\xff'); begin <= size; end = text.find('\xff', begin)) {
    if (end == std::string::npos) end = size;
    const std::string field = text.substr(begin, end - begin);
    if (part < 4) {
      *parts[part++] = field;
    } else {
      request.symbols.push_back(field);
    }
    begin = end + 1;
  }
  const auto json = CanonicalJson(request);
  const auto key = GenerateCacheKey(request);
  if (json.ok() != key.ok()) std::abort();
  if (key.ok() && (KeyOfCanonicalJson(*json) != *key || key->size() != 16)) std::abort();
  EntryFileNameParts name;
  (void)ParseEntryFileName(text, &name);
  if (!ValidateCacheKey(text).ok()) return 0;
  const std::string file = EntryFileName(text, size, std::string(64, 'a'));
  if (!IsConfinedName(file) || !ParseEntryFileName(file, &name)) std::abort();
  if (name.stem != FileStemOfKey(text) || name.generation != size) std::abort();
  return 0;
}
