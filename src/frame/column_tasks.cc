#include "frame/column_tasks.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <numeric>
#include <stdexcept>

#include "base/crew.h"

namespace barcache {
namespace {

Status NoMemory() {
  return Status(ErrorCode::kOutOfMemory, "no memory for a column; free some and try again");
}

// Where even the message finds no memory it throws: the crew hands that to whoever joins.
Status Guarded(const std::function<Status(size_t)>& work, size_t column) {
  try {
    return work(column);
  } catch (const std::bad_alloc&) {
    return NoMemory();
  } catch (const std::length_error&) {
    return NoMemory();
  }
}

}  // namespace

Status ForEachColumn(const std::vector<size_t>& costs, const std::function<Status(size_t)>& work) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t left, size_t right) { return costs[left] > costs[right]; });
  std::vector<Status> statuses(costs.size());
  std::atomic<bool> failed{false};
  Crew::Batch batch(Crew::Shared(), static_cast<int64_t>(order.size()), [&](int64_t index) {
    if (failed.load(std::memory_order_relaxed)) return;
    const size_t column = order[static_cast<size_t>(index)];
    statuses[column] = Guarded(work, column);
    if (!statuses[column].ok()) failed.store(true, std::memory_order_relaxed);
  });
  batch.Join();
  for (Status& status : statuses) {
    if (!status.ok()) return std::move(status);
  }
  return Status();
}

}  // namespace barcache
