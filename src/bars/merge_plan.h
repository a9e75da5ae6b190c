// MergePlan: which small segments of a series are to become one.
//
// Files are sorted into tiers by size, each eight times as large as the one below: under 8 KB,
// under 64 KB, under 512 KB; larger ones are left alone. As soon as eight neighbours are of one
// tier, or of it and lower ones, they are merged. So a bar is written again about once a tier,
// however it came, and a series that grows at its end keeps at most seven files of each tier beside
// its large ones (the scheme of log-structured merge trees: O'Neil et al., Acta Informatica 33,
// 1996).
//
// Left alone are segments with provisional bars, which are about to be replaced, and what is pinned
// is merged with what is pinned alone, so that no pin begins to hold more.
//
// Pure. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bars/series.h"

namespace barcache {

inline constexpr size_t kMergeAt = 8;           // Neighbours of one tier.
inline constexpr size_t kMostMergeInputs = 64;  // Of one merge.
inline constexpr size_t kOverdueAt = 32;        // Segments of a series: whoever fetches merges.
inline constexpr int64_t kSmallestTierBytes = 8 << 10;
inline constexpr int kMergeTiers = 3;

// What the catalog says of a segment.
struct SegmentFacts {
  std::string key;
  int64_t size_bytes = 0;
  bool is_pinned = false;
};

// Segments that hold bars, each once, by the begin of their first interval.
std::vector<std::string> SegmentsOf(const std::vector<Coverage>& coverage);

// Of those whose bars are all final: what a merge may take.
std::vector<std::string> FinalSegmentsOf(const std::vector<Coverage>& coverage);

// Of those whose bars are all provisional: an answer that was recorded since may have taken the
// place of all of them.
std::vector<std::string> ProvisionalSegmentsOf(const std::vector<Coverage>& coverage);

// The rows of the coverage whose bars lie in one of these segments, in order.
std::vector<Coverage> RowsNaming(const std::vector<Coverage>& coverage,
                                 const std::vector<std::string>& segments);

// Groups of at least `merge_at` segments to be made one each, of the smallest tier that has any:
// what comes of them may complete a group of the next one. No segment is in two. `facts`: of the
// segments that may be merged, in any order; every other segment of the coverage is in the way.
std::vector<std::vector<std::string>> PlanMerges(const std::vector<Coverage>& coverage,
                                                 const std::vector<SegmentFacts>& facts,
                                                 size_t merge_at = kMergeAt);

}  // namespace barcache
