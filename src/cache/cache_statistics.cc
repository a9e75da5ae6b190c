// Cache::Impl: counters of the session, of recorded days, and their sum.

#include <limits>
#include <utility>

#include "base/failpoint.h"
#include "cache/cache_impl.h"

namespace barcache {
namespace {

constexpr int64_t kSecondsPerDay = 86'400;

// 00:00 UTC of the day that holds `time_s`, also before 1970.
int64_t DayStart(int64_t time_s) {
  const int64_t remainder = time_s % kSecondsPerDay;
  return time_s - remainder - (remainder < 0 ? kSecondsPerDay : 0);
}

// "2023-01-31" of a day's start.
std::string IsoDate(int64_t day_start_s) {
  const std::chrono::year_month_day date{
      std::chrono::sys_days{std::chrono::days{day_start_s / kSecondsPerDay}}};
  const auto two_digits = [](unsigned value) {
    return (value < 10 ? "0" : "") + std::to_string(value);
  };
  return std::to_string(static_cast<int>(date.year())) + "-" +
         two_digits(static_cast<unsigned>(date.month())) + "-" +
         two_digits(static_cast<unsigned>(date.day()));
}

}  // namespace

Result<CacheStatistics> Cache::Impl::Statistics(std::optional<int64_t> from_s,
                                                std::optional<int64_t> to_s) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  const int64_t first_day = from_s ? DayStart(*from_s) : std::numeric_limits<int64_t>::min();
  const int64_t last_day = to_s ? DayStart(*to_s) : std::numeric_limits<int64_t>::max();
  CacheStatistics statistics;
  {
    // Held so that a record in between cannot count the session twice or not at all.
    const MutexLock lock(record_mutex_);
    BARCACHE_ASSIGN_OR_RETURN(const auto days, catalog->DailyBetween(first_day, last_day));
    for (const DailyStatistics& day : days) {
      statistics.hit_count += day.hit_count;
      statistics.miss_count += day.miss_count;
    }
    const int64_t today = DayStart(clock_->WallSeconds());
    if (first_day <= today && today <= last_day) {
      statistics.hit_count += hot_hits_ + cold_hits_ - recorded_hits_;
      statistics.miss_count += misses_ - recorded_misses_;
    }
  }
  const int64_t asked = statistics.hit_count + statistics.miss_count;
  if (asked > 0) {
    statistics.hit_rate = static_cast<double>(statistics.hit_count) / static_cast<double>(asked);
  }
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, catalog->Totals());
  statistics.total_size_bytes = totals.size_bytes;
  statistics.entry_count = totals.entry_count;
  if (totals.entry_count > 0) {
    statistics.avg_access_count = static_cast<double>(totals.access_count + pending_.TotalCount()) /
                                  static_cast<double>(totals.entry_count);
  }
  statistics.session = session_stats();
  return statistics;
}

Status Cache::Impl::RecordDailyStatistics() {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  EventBuffer events;
  const Status status = WriteDailyStatistics(&events);
  Emit(std::move(events));
  return status;
}

Status Cache::Impl::WriteDailyStatistics(EventBuffer* events) {
  const MutexLock lock(record_mutex_);
  const int64_t hits = hot_hits_ + cold_hits_;
  const int64_t misses = misses_;
  const int64_t today = DayStart(clock_->WallSeconds());
  if (closed && hits == recorded_hits_ && misses == recorded_misses_) return Status();

  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, writer.Totals());
  BARCACHE_RETURN_IF_ERROR(writer.AddDailyStatistics(DailyStatistics{
      today, hits - recorded_hits_, misses - recorded_misses_, Megabytes(totals.size_bytes)}));
  BARCACHE_ASSIGN_OR_RETURN(const auto day, writer.ReadDailyStatistics(today));
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  if (Mutant("no_record_baseline")) return Status();
  recorded_hits_ = hits;
  recorded_misses_ = misses;

  Event event{EventLevel::kInfo, "daily_statistics_recorded", {}};
  event.fields.emplace_back("stat_date", IsoDate(today));
  event.fields.emplace_back("hit_count", day ? day->hit_count : 0);
  event.fields.emplace_back("miss_count", day ? day->miss_count : 0);
  event.fields.emplace_back("total_size_mb", Megabytes(totals.size_bytes));
  events->push_back(std::move(event));
  return Status();
}

SessionStats Cache::Impl::session_stats() const {
  const MutexLock lock(settings_mutex_);
  SessionStats stats;
  stats.hot_hits = hot_hits_ - session_base_.hot_hits;
  stats.cold_hits = cold_hits_ - session_base_.cold_hits;
  stats.hit_count = hot_hits_ + cold_hits_ - session_base_.hit_count;
  stats.miss_count = misses_ - session_base_.miss_count;
  return stats;
}

void Cache::Impl::set_session_stats(const SessionStats& stats) {
  const MutexLock lock(settings_mutex_);
  session_base_.hot_hits = hot_hits_ - stats.hot_hits;
  session_base_.cold_hits = cold_hits_ - stats.cold_hits;
  session_base_.hit_count = hot_hits_ + cold_hits_ - stats.hit_count;
  session_base_.miss_count = misses_ - stats.miss_count;
}

}  // namespace barcache
