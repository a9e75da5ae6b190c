// The queries behind the victim orders. In a header so that tests can ask SQLite for their plans:
// each must be a walk along an index, whatever the number of entries and of pinned ones among them:
// those are in none of the indexes, and before the first row of the table that is looked at.
#pragma once

namespace barcache {

// Sizes and orders are the side rows': they are what indexes are kept over.
#define BARCACHE_CANDIDATES_(index)                                               \
  "SELECT s.cache_key, e.parquet_path, s.size_bytes, e.last_accessed, s.priority" \
  " FROM barcache_entries s " index                                               \
  " CROSS JOIN cache_entries e ON e.cache_key = s.cache_key WHERE s.cache_key IS NOT ?1"
inline constexpr char kVictimsByUse[] =
    BARCACHE_CANDIDATES_("NOT INDEXED") " AND s.use_order > 0 ORDER BY s.use_order LIMIT ?2";
inline constexpr char kVictimsBySize[] =
    BARCACHE_CANDIDATES_("INDEXED BY barcache_entries_size") " AND s.use_order > 0 ORDER BY s.size_bytes DESC, s.use_order LIMIT ?2";
inline constexpr char kVictimsOldBySize[] =
    BARCACHE_CANDIDATES_("") " AND s.is_old = 1 ORDER BY s.size_bytes DESC, s.use_order LIMIT ?2";
inline constexpr char kVictimsByPriority[] = BARCACHE_CANDIDATES_(
    "") " AND s.priority IS NOT NULL ORDER BY s.priority, s.use_order LIMIT ?2";
#undef BARCACHE_CANDIDATES_

// The head of a queue, and how often it was used since it was last judged.
inline constexpr char kQueueHead[] =
    "SELECT s.cache_key, e.parquet_path, s.size_bytes, e.last_accessed, s.priority, s.use_order,"
    " s.access_count, s.counted_uses"
    " FROM barcache_entries s CROSS JOIN cache_entries e ON e.cache_key = s.cache_key"
    " WHERE s.cache_key IS NOT ?1 AND s.queue = ?2 ORDER BY s.place LIMIT 1";

// What was put or used since these orders were last looked at.
inline constexpr char kEntriesToRank[] =
    "SELECT use_order, access_count, size_bytes, fetch_cost, 0, 0"
    " FROM barcache_entries WHERE use_order >="
    " (SELECT ranked_use FROM barcache_totals WHERE id = 1) ORDER BY use_order";
inline constexpr char kEntriesToQueue[] =
    "SELECT s.use_order, s.access_count, s.size_bytes, s.fetch_cost, s.cache_key IS ?1,"
    " EXISTS (SELECT 1 FROM barcache_ghosts g WHERE g.cache_key = s.cache_key)"
    " FROM barcache_entries s WHERE s.queue IS NULL AND s.use_order >="
    " (SELECT queued_use FROM barcache_totals WHERE id = 1) ORDER BY s.generation, s.use_order";

inline constexpr char kReadHalf[] =
    "SELECT (entry_count - pinned_count) / 2 - old_count, old_boundary FROM barcache_totals WHERE "
    "id = 1";
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
