// The queries behind the victim orders. In a header so that tests can ask SQLite for their plans:
// each must be a walk along an index, whatever the number of entries.
#pragma once

namespace barcache {

// Sizes and orders are the side rows': they are what indexes are kept over.
#define BARCACHE_CANDIDATES_                                                         \
  "SELECT s.cache_key, e.parquet_path, s.size_bytes, e.last_accessed"                \
  " FROM barcache_entries s CROSS JOIN cache_entries e ON e.cache_key = s.cache_key" \
  " WHERE s.cache_key IS NOT ?1"
inline constexpr char kVictimsByUse[] = BARCACHE_CANDIDATES_ " ORDER BY s.use_order LIMIT ?2";
inline constexpr char kVictimsBySize[] =
    BARCACHE_CANDIDATES_ " ORDER BY s.size_bytes DESC, s.use_order LIMIT ?2";
inline constexpr char kVictimsOldBySize[] =
    BARCACHE_CANDIDATES_ " AND s.is_old = 1 ORDER BY s.size_bytes DESC, s.use_order LIMIT ?2";
#undef BARCACHE_CANDIDATES_

inline constexpr char kReadHalf[] =
    "SELECT entry_count / 2 - old_count, old_boundary FROM barcache_totals WHERE id = 1";
inline constexpr char kBoundaryAbove[] =
    "SELECT use_order FROM barcache_entries WHERE use_order > ?1 ORDER BY use_order LIMIT 1"
    " OFFSET ?2";
inline constexpr char kBoundaryBelow[] =
    "SELECT use_order FROM barcache_entries WHERE use_order <= ?1 ORDER BY use_order DESC LIMIT 1"
    " OFFSET ?2";
inline constexpr char kAge[] =
    "UPDATE barcache_entries SET is_old = 1 WHERE use_order > ?1 AND use_order <= ?2";
inline constexpr char kRejuvenate[] =
    "UPDATE barcache_entries SET is_old = 0 WHERE use_order > ?2 AND use_order <= ?1";
inline constexpr char kSetBoundary[] = "UPDATE barcache_totals SET old_boundary = ?1 WHERE id = 1";

}  // namespace barcache
