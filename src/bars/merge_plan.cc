// Tiers of neighbours. See merge_plan.h.
#include "bars/merge_plan.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace barcache {

namespace {

bool HoldsBars(const Coverage& coverage) {
  return coverage.state == CoverageState::kData && !coverage.segment_key.empty();
}

// kMergeTiers: too large to be merged.
int TierOf(int64_t size_bytes) {
  int tier = 0;
  for (int64_t limit = kSmallestTierBytes; tier < kMergeTiers && size_bytes >= limit; ++tier) {
    limit *= static_cast<int64_t>(kMergeAt);
  }
  return tier;
}

struct Candidate {
  const SegmentFacts* facts = nullptr;  // Null: in the way of a merge.
  int tier = kMergeTiers;
};

// Runs of candidates of at most that tier, alike in their pins, with enough of exactly that tier.
std::vector<std::vector<std::string>> RunsOf(const std::vector<Candidate>& candidates, int tier,
                                             size_t merge_at) {
  std::vector<std::vector<std::string>> groups;
  std::vector<std::string> run;
  size_t of_tier = 0;
  const SegmentFacts* last = nullptr;
  const auto end_run = [&] {
    if (of_tier >= merge_at) groups.push_back(run);
    run.clear();
    of_tier = 0;
  };
  for (const Candidate& candidate : candidates) {
    const bool fits = candidate.facts != nullptr && candidate.tier <= tier;
    const bool follows = fits && last != nullptr && last->is_pinned == candidate.facts->is_pinned;
    if (!follows || run.size() >= kMostMergeInputs) end_run();
    last = fits ? candidate.facts : nullptr;
    if (!fits) continue;
    run.push_back(candidate.facts->key);
    of_tier += candidate.tier == tier ? 1 : 0;
  }
  end_run();
  return groups;
}

}  // namespace

std::vector<std::string> SegmentsOf(const std::vector<Coverage>& coverage) {
  std::vector<std::string> keys;
  std::unordered_set<std::string> seen;
  for (const Coverage& row : coverage) {
    if (HoldsBars(row) && seen.insert(row.segment_key).second) keys.push_back(row.segment_key);
  }
  return keys;
}

std::vector<std::string> FinalSegmentsOf(const std::vector<Coverage>& coverage) {
  std::unordered_set<std::string> provisional;
  for (const Coverage& row : coverage) {
    if (HoldsBars(row) && row.expires_at_s.has_value()) provisional.insert(row.segment_key);
  }
  std::vector<std::string> keys = SegmentsOf(coverage);
  std::erase_if(keys, [&](const std::string& key) { return provisional.contains(key); });
  return keys;
}

std::vector<std::string> ProvisionalSegmentsOf(const std::vector<Coverage>& coverage) {
  std::unordered_set<std::string> final;
  for (const Coverage& row : coverage) {
    if (HoldsBars(row) && !row.expires_at_s.has_value()) final.insert(row.segment_key);
  }
  std::vector<std::string> keys = SegmentsOf(coverage);
  std::erase_if(keys, [&](const std::string& key) { return final.contains(key); });
  return keys;
}

std::vector<Coverage> RowsNaming(const std::vector<Coverage>& coverage,
                                 const std::vector<std::string>& segments) {
  const std::unordered_set<std::string> named(segments.begin(), segments.end());
  std::vector<Coverage> rows;
  for (const Coverage& row : coverage) {
    if (HoldsBars(row) && named.contains(row.segment_key)) rows.push_back(row);
  }
  return rows;
}

std::vector<std::vector<std::string>> PlanMerges(const std::vector<Coverage>& coverage,
                                                 const std::vector<SegmentFacts>& facts,
                                                 size_t merge_at) {
  std::unordered_map<std::string, const SegmentFacts*> by_key;
  for (const SegmentFacts& one : facts) by_key[one.key] = &one;
  std::vector<Candidate> candidates;
  for (const std::string& key : SegmentsOf(coverage)) {
    const auto found = by_key.find(key);
    if (found == by_key.end()) {
      candidates.push_back({});
    } else {
      candidates.push_back({found->second, TierOf(found->second->size_bytes)});
    }
  }
  for (int tier = 0; tier < kMergeTiers; ++tier) {
    std::vector<std::vector<std::string>> groups = RunsOf(candidates, tier, merge_at);
    if (!groups.empty()) return groups;
  }
  return {};
}

}  // namespace barcache
