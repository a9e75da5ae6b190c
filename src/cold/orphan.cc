// Whose a file is that no row names, and how it goes. See orphan.h.
#include "cold/orphan.h"

#include <cstring>
#include <span>

#include "barcache/cache_key.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "cold/cold_events.h"
#include "cold/cold_tier.h"
#include "cold/entry_stamp.h"

namespace barcache {
namespace {

constexpr std::string_view kMagic = "PAR1";
// A Parquet file ends with its footer, the footer's size in 4 bytes, little-endian, and the magic.
constexpr size_t kTailBytes = 8;
constexpr int64_t kUsualFooterBytes = 64 << 10;
constexpr int64_t kMaxFooterBytes = 64 << 20;

// The pairs in a file's footer, without reading what lies before it.
Result<KeyValues> ReadPairs(const FileDescriptor& file, const std::string& name) {
  int64_t end_bytes = kUsualFooterBytes;
  for (int turn = 0;; ++turn) {
    BARCACHE_ASSIGN_OR_RETURN(const ByteBuffer end,
                              Directory::ReadEndOfFile(file, name, end_bytes));
    const Status not_parquet(ErrorCode::kCorruption, "file " + name + ": it has no footer");
    if (end.size() < kTailBytes) return not_parquet;
    const uint8_t* tail = end.data() + end.size() - kTailBytes;
    if (std::memcmp(tail + 4, kMagic.data(), kMagic.size()) != 0) return not_parquet;
    uint32_t footer_bytes = 0;
    std::memcpy(&footer_bytes, tail, sizeof(footer_bytes));
    const size_t needed = size_t{footer_bytes} + kTailBytes;
    if (needed <= end.size()) {
      // As if the file were its magic and its footer.
      std::string alone(kMagic);
      alone.append(reinterpret_cast<const char*>(end.data() + end.size() - needed), needed);
      return ReadKeyValues({reinterpret_cast<const uint8_t*>(alone.data()), alone.size()});
    }
    if (turn > 0 || footer_bytes > kMaxFooterBytes) return not_parquet;
    end_bytes = static_cast<int64_t>(needed);
  }
}

}  // namespace

Origin OriginOf(const Directory& directory, const std::string& name,
                const std::string& catalog_id) {
  if (IsTemporaryName(name)) return {true, std::nullopt};
  EntryFileNameParts parts;
  if (!ParseEntryFileName(name, &parts)) return {};
  const auto file = directory.OpenFile(name);
  if (!file.ok() || !file->has_value()) return {};
  const auto pairs = ReadPairs(**file, name);
  if (pairs.ok()) {
    const auto stamp = ReadStamp(*pairs);
    if (!stamp || stamp->catalog_id != catalog_id) return {};
    return {false, stamp->cache_key};
  }
  if (pairs.status().code() != ErrorCode::kCorruption) return {};
  // Without its end a file does not say whose it is; but nobody can serve it any more.
  const auto bytes = Directory::ReadOpenFile(**file, name, kMaxFileBytes);
  if (!bytes.ok()) return {};
  return {!HexEncode(Sha256(bytes->bytes())).starts_with(parts.checksum_prefix), std::nullopt};
}

Result<int64_t> ColdTier::RemoveOrphan(const std::string& name, const Origin& origin,
                                       EventBuffer* events) {
  // Under the writer lock nobody can give the file a row between the look and the unlink.
  BARCACHE_ASSIGN_OR_RETURN(const CatalogWriter writer, catalog_->BeginWrite());
  if (origin.key && !Mutant("sweep_without_look")) {
    BARCACHE_ASSIGN_OR_RETURN(const auto row, catalog_->Find(*origin.key));
    if (row && row->parquet_path == name) return -1;
  }
  BARCACHE_ASSIGN_OR_RETURN(const auto info, directory_.Examine(name));
  if (!info) return -1;  // Another process was faster.
  BARCACHE_RETURN_IF_ERROR(directory_.RemoveFile(name));
  events->push_back(FileDeleted("", name));
  return info->size_bytes;
}

// A process that was stopped, or a machine that slept, between file and row.
Status ColdTier::RequireFile(const NewEntry& entry) const {
  const int64_t age_s = clock_->WallSeconds() - entry.now_s;
  if (age_s >= 0 && age_s < kOrphanGraceSeconds / 2) return Status();
  BARCACHE_ASSIGN_OR_RETURN(const auto info, directory_.Examine(entry.parquet_path));
  if (info || Mutant("no_file_required")) return Status();
  return Status(ErrorCode::kIo, "file " + directory_.path() + "/" + entry.parquet_path +
                                    ": it was removed before its entry was stored, for this put "
                                    "took longer than ten minutes; put it again");
}

}  // namespace barcache
