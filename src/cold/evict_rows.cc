// Orders of the catalog, and the two that are computed here from what the policy says.
#include "cold/evict_rows.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/failpoint.h"
#include "cold/cold_events.h"
#include "policy/eviction.h"
#include "policy/gdsf.h"
#include "policy/s3fifo.h"

namespace barcache {
namespace {

VictimOrder CatalogOrder(RankOrder order) {
  switch (order) {
    case RankOrder::kLargest:
      return VictimOrder::kLargest;
    case RankOrder::kLargestOfOldHalf:
      return VictimOrder::kLargestOfOldHalf;
    case RankOrder::kLowestPriority:
      return VictimOrder::kLowestPriority;
    case RankOrder::kLeastRecentlyUsed:
    case RankOrder::kTwoQueues:  // Not an order of the catalog: see EvictFromQueues.
      break;
  }
  return VictimOrder::kLeastRecentlyUsed;
}

// The old half changes with every victim, so it is asked for one at a time; the other orders
// stay as they are while victims leave. Neighbours by priority lie scattered in the table, and
// more than a few are seldom needed.
int64_t BatchSize(RankOrder order) {
  if (order == RankOrder::kLargestOfOldHalf) return 1;
  return order == RankOrder::kLowestPriority ? 4 : 32;
}

// One eviction while it goes on.
struct Run {
  CatalogWriter* writer;
  std::string_view except_key;
  int64_t pinned_bytes;
  EvictionProgress progress;
  Eviction* eviction;
  EventBuffer* events;
};

Status Remove(RankOrder order, Victim candidate, Run* run) {
  BARCACHE_ASSIGN_OR_RETURN(const auto erased, run->writer->Erase(candidate.cache_key));
  if (!erased) return Status();
  run->progress.Removed(candidate.size_bytes);
  run->events->push_back(Evicted(order, candidate));
  run->eviction->victims.push_back(std::move(candidate));
  return Status();
}

// Removes rows in `order` while the progress takes the next one. False: the order ran dry.
Result<bool> EvictInOrder(RankOrder order, bool to_capacity_only, Run* run) {
  const auto takes = [&](const Victim& candidate) {
    return to_capacity_only ? run->progress.AboveCapacity()
                            : run->progress.Takes(candidate.size_bytes);
  };
  for (;;) {
    BARCACHE_ASSIGN_OR_RETURN(
        auto candidates,
        run->writer->Candidates(CatalogOrder(order), BatchSize(order), run->except_key));
    if (candidates.empty()) return false;
    for (Victim& candidate : candidates) {
      if (!takes(candidate)) return true;
      BARCACHE_RETURN_IF_ERROR(Remove(order, std::move(candidate), run));
    }
  }
}

// --- GDSF ------------------------------------------------------------------------------------

// Whatever was put or used since the last eviction gets its priority now: nothing has left in
// between, so that the inflation is still that of its use.
Result<bool> EvictByPriority(Run* run) {
  BARCACHE_ASSIGN_OR_RETURN(double inflation, run->writer->Inflation());
  BARCACHE_ASSIGN_OR_RETURN(const auto inputs, run->writer->EntriesToRank());
  for (const RankInput& input : inputs) {
    const GdsfEntry entry{input.access_count, input.fetch_cost, input.size_bytes};
    BARCACHE_RETURN_IF_ERROR(
        run->writer->SetPriority(input.use_order, GdsfPriority(inflation, entry)));
  }
  BARCACHE_ASSIGN_OR_RETURN(const bool enough,
                            EvictInOrder(RankOrder::kLowestPriority, false, run));
  for (const Victim& victim : run->eviction->victims) {
    inflation = GdsfInflationAfter(inflation, victim.priority);
  }
  BARCACHE_RETURN_IF_ERROR(run->writer->FinishRanking(inflation));
  return enough;
}

// --- S3-FIFO ---------------------------------------------------------------------------------

Status Enqueue(const RankInput& input, FifoQueue queue, Run* run) {
  return run->writer->Enqueue(input.use_order, static_cast<int>(queue), 1);  // Its put.
}

// Whatever was put since the last eviction enters its queue. Returns the entry that room is made
// for: it enters after those that leave.
Result<std::optional<RankInput>> FillQueues(int64_t capacity_bytes, Run* run) {
  BARCACHE_ASSIGN_OR_RETURN(const QueueTotals totals, run->writer->ReadQueueTotals());
  BARCACHE_ASSIGN_OR_RETURN(const auto inputs, run->writer->EntriesToQueue(run->except_key));
  S3FifoBytes bytes{capacity_bytes, 0, 0};  // While warming up nothing is in a queue yet.
  std::optional<RankInput> named;
  for (const RankInput& input : inputs) {
    if (input.was_ghost) BARCACHE_RETURN_IF_ERROR(run->writer->ForgetGhostOf(input.use_order));
    if (input.is_named) {
      named = input;
      continue;
    }
    const FifoQueue queue = StartingQueue(bytes, input.was_ghost, !totals.started);
    if (queue == FifoQueue::kSmall) bytes.small += input.size_bytes;
    BARCACHE_RETURN_IF_ERROR(Enqueue(input, queue, run));
  }
  return named;
}

// Moves on what was used, until a victim comes to the head. nullopt: the queues are empty.
Result<std::optional<Victim>> NextVictim(int64_t capacity_bytes, FifoQueue* queue, Run* run) {
  CatalogWriter* writer = run->writer;
  for (;;) {
    BARCACHE_ASSIGN_OR_RETURN(const QueueTotals totals, writer->ReadQueueTotals());
    BARCACHE_ASSIGN_OR_RETURN(auto head, writer->HeadOf(0, run->except_key));
    *queue = QueueToShrink({capacity_bytes, totals.small_bytes, totals.main_bytes}, !head);
    // One queue until it gives a victim or is empty.
    for (;;) {
      BARCACHE_ASSIGN_OR_RETURN(head, writer->HeadOf(static_cast<int>(*queue), run->except_key));
      if (!head) break;
      const int64_t uses = std::max<int64_t>(head->access_count - head->counted_uses, 0);
      const FifoVerdict verdict = JudgeHead(*queue, uses);
      if (verdict.leaves) return std::optional<Victim>(std::move(head->victim));
      BARCACHE_RETURN_IF_ERROR(writer->Enqueue(head->use_order, static_cast<int>(verdict.queue),
                                               head->access_count - verdict.uses));
    }
    if (*queue == FifoQueue::kMain) return std::optional<Victim>();
  }
}

Result<bool> EvictFromQueues(int64_t capacity_bytes, Run* run) {
  BARCACHE_ASSIGN_OR_RETURN(const auto named, FillQueues(capacity_bytes, run));
  bool enough = true;
  while (run->progress.WantsMore()) {
    FifoQueue queue = FifoQueue::kSmall;
    BARCACHE_ASSIGN_OR_RETURN(auto victim, NextVictim(capacity_bytes, &queue, run));
    enough = victim.has_value();
    if (!enough || !run->progress.Takes(victim->size_bytes)) break;
    if (queue == FifoQueue::kSmall) {
      BARCACHE_RETURN_IF_ERROR(run->writer->RememberGhost(victim->cache_key, victim->size_bytes,
                                                          GhostLimitBytes(capacity_bytes)));
    }
    BARCACHE_RETURN_IF_ERROR(Remove(RankOrder::kTwoQueues, std::move(*victim), run));
  }
  if (named.has_value()) {
    const FifoQueue queue = StartingQueue({}, named->was_ghost, false);
    BARCACHE_RETURN_IF_ERROR(Enqueue(*named, queue, run));
  }
  BARCACHE_RETURN_IF_ERROR(run->writer->FinishQueueing());
  return enough;
}

Status EvictByPlan(const EvictionPlan& plan, Run* run) {
  Result<bool> enough = true;
  if (plan.first == RankOrder::kLowestPriority) {
    enough = EvictByPriority(run);
  } else if (plan.first == RankOrder::kTwoQueues) {
    // The queues share what pinned entries leave.
    enough = EvictFromQueues(std::max<int64_t>(plan.capacity_bytes - run->pinned_bytes, 0), run);
  } else {
    enough = EvictInOrder(plan.first, false, run);
  }
  if (enough.ok() && !*enough) enough = EvictInOrder(plan.then, true, run);
  return enough.status();
}

}  // namespace

Result<Eviction> EvictRows(CatalogWriter* writer, const EvictionRule& rule,
                           std::string_view except_key, PendingTouches* touches,
                           EventBuffer* events) {
  Eviction eviction;
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, writer->Totals());
  const EvictionPlan plan =
      PlanEviction(rule.policy, {totals.size_bytes, rule.capacity_bytes, rule.to_capacity_only});
  if (!plan.needed) return eviction;
  events->push_back(EvictionTriggered(totals.size_bytes, rule.capacity_bytes));
  Status status;
  if (touches != nullptr && !Mutant("victims_without_touches")) {
    status = writer->ApplyTouches(touches->Take());
  }
  if (status.ok()) {
    Run run{
        writer,    except_key, totals.pinned_size_bytes, EvictionProgress(plan, totals.size_bytes),
        &eviction, events};
    status = EvictByPlan(plan, &run);
  }
  if (!status.ok()) return status;
  return eviction;
}

}  // namespace barcache
