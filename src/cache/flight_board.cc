#include "cache/flight_board.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/file_system.h"

namespace barcache {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr size_t kMaxErrorBytes = 4096;
// The background thread looks this often whether it is time to renew: a fork makes it start anew.
constexpr int64_t kLooksPerLease = 12;
// What failed is kept for those who waited; what nobody took over is swept away after this.
constexpr int64_t kKeptNs = 60LL * 1'000'000'000;

const LeaseRow* FindHeld(const std::vector<LeaseRow>& rows) {
  const auto held = std::ranges::find_if(rows, [](const LeaseRow& r) { return !r.error_type; });
  return held == rows.end() ? nullptr : &*held;
}

const LeaseRow* FindFailed(const std::vector<LeaseRow>& rows, std::string_view token) {
  const auto failed = std::ranges::find_if(
      rows, [&](const LeaseRow& r) { return r.error_type && r.token == token; });
  return failed == rows.end() ? nullptr : &*failed;
}

// Cut between two characters of UTF-8.
std::string Shortened(std::string text) {
  if (text.size() <= kMaxErrorBytes) return text;
  size_t size = kMaxErrorBytes;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
  return text;
}

}  // namespace

class FlightBoard::LeasedFlight final : public Flight {
 public:
  LeasedFlight(FlightBoard* board, std::string_view name) : board_(board), name_(name) {}
  LeasedFlight(const LeasedFlight&) = delete;
  LeasedFlight& operator=(const LeasedFlight&) = delete;
  ~LeasedFlight() override {
    try {
      Land();
    } catch (const std::bad_alloc&) {  // The lease is not renewed any more, and runs out.
    }
  }

  // Leads, or waits for who does.
  void Begin() { Take(nullptr); }

  FlightState state() const override { return state_; }
  const FlightError& error() const override { return error_; }

  FlightState Poll() override {
    if (state_ != FlightState::kWaiting) return state_;
    const bool moved = board_->catalog_->EpochOfLease(name_) != epoch_ || !epoch_.settled();
    if (moved || LooksOver()) Look();
    return state_;
  }

  void Land() override { End(FlightState::kLanded, nullptr); }

  void Fail(const FlightError& error) override {
    if (state_ != FlightState::kLeading) return;
    error_ = FlightError{Shortened(error.type), Shortened(error.message)};
    End(FlightState::kFailed, &error_);
  }

 private:
  bool LooksOver() const {
    if (Mutant("no_takeover")) return false;
    return board_->IsOver(watched_) ||
           board_->clock_->MonotonicNs() - unchanged_since_ns_ >= board_->lease_ns_;
  }

  void Watch(const LeaseRow& row) {
    const bool same = row.token == watched_.token && row.expires_ns == watched_.expires_ns;
    if (!same) unchanged_since_ns_ = board_->clock_->MonotonicNs();
    watched_ = row;
    state_ = FlightState::kWaiting;
  }

  void Look() {
    const Epoch epoch = board_->catalog_->EpochOfLease(name_);
    const auto rows = board_->catalog_->Leases(name_);
    if (!rows.ok()) return LeadAlone(rows.status());
    epoch_ = epoch;
    if (const LeaseRow* failed = FindFailed(*rows, watched_.token)) {
      error_ = FlightError{*failed->error_type, failed->error_message};
      state_ = FlightState::kFailed;
      return;
    }
    const LeaseRow* held = FindHeld(*rows);
    if (held == nullptr) {
      state_ = FlightState::kLanded;
      return;
    }
    Watch(*held);
    if (LooksOver()) Take(held);
  }

  void Take(const LeaseRow* stale) {
    const Epoch epoch = board_->catalog_->EpochOfLease(name_);
    std::string token = RandomHex32();
    const auto held = board_->TakeUnlessHeld(name_, token, stale);
    if (!held.ok()) return LeadAlone(held.status());
    if (held->has_value()) {
      epoch_ = epoch;
      Watch(**held);
      return;
    }
    token_ = std::move(token);
    state_ = FlightState::kLeading;
  }

  void LeadAlone(const Status& error) {
    state_ = FlightState::kLeading;
    if (error.code() != ErrorCode::kClosed) board_->report_(name_, error);
  }

  void End(FlightState state, const FlightError* error) {
    if (state_ != FlightState::kLeading) return;
    state_ = state;
    if (token_.empty() || !board_->Drop(token_)) return;
    const Status status = board_->End(name_, token_, error);
    if (!status.ok()) board_->report_(name_, status);
  }

  FlightBoard* const board_;
  const std::string name_;
  FlightState state_ = FlightState::kLeading;
  std::string token_;  // "": leads without a lease.
  FlightError error_;
  // While waiting:
  LeaseRow watched_;
  int64_t unchanged_since_ns_ = 0;
  Epoch epoch_;
};

// Lets go of a lease in memory unless it was kept.
class FlightBoard::Holding {
 public:
  Holding(FlightBoard* board, const std::string& token) : board_(board), token_(token) {}
  ~Holding() {
    if (board_ != nullptr) board_->Drop(token_);
  }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  void Keep() { board_ = nullptr; }

 private:
  FlightBoard* board_;
  const std::string& token_;
};

FlightBoard::FlightBoard(Catalog* catalog, const Clock* clock, int64_t lease_ms, bool shared,
                         Report report)
    : catalog_(catalog),
      clock_(clock),
      lease_ns_(lease_ms * kNsPerMs),
      report_(std::move(report)),
      shared_(shared),
      renewal_([this] { Renew(); }, std::chrono::milliseconds(lease_ms / kLooksPerLease)) {}

FlightBoard::~FlightBoard() { Close(); }

std::unique_ptr<Flight> FlightBoard::Begin(std::string_view name) {
  auto flight = std::make_unique<LeasedFlight>(this, name);
  if (shared_) flight->Begin();
  return flight;
}

bool FlightBoard::IsOver(const LeaseRow& row) const {
  if (Mutant("no_takeover")) return false;
  return clock_->WallNs() >= row.expires_ns || IsGone(row.holder);
}

Result<std::optional<LeaseRow>> FlightBoard::TakeUnlessHeld(const std::string& name,
                                                            const std::string& token,
                                                            const LeaseRow* stale) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<LeaseRow> rows, writer.Leases(name));
  if (const LeaseRow* held = FindHeld(rows)) {
    const bool still_stale =
        stale != nullptr && held->token == stale->token && held->expires_ns == stale->expires_ns;
    if (!still_stale && !IsOver(*held)) return std::optional<LeaseRow>(*held);
    BARCACHE_ASSIGN_OR_RETURN(const bool ended, writer.EndLease(name, held->token));
    static_cast<void>(ended);
  }
  const int64_t now_ns = clock_->WallNs();
  BARCACHE_RETURN_IF_ERROR(writer.DropLeasesBefore(now_ns - kKeptNs));
  LeaseRow row;
  row.name = name;
  row.token = token;
  row.holder = ThisProcess();
  row.expires_ns = now_ns + lease_ns_;
  BARCACHE_RETURN_IF_ERROR(writer.AddLease(row));
  // Before the commit: a lease in the catalog that this process did not know of would last.
  Holding holding(this, token);
  if (!Hold(name, token)) return Status(ErrorCode::kClosed, "the cache was closed");
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  holding.Keep();
  renewal_.Nudge();
  return std::optional<LeaseRow>();
}

Status FlightBoard::End(const std::string& name, const std::string& token,
                        const FlightError* error) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  if (error == nullptr) {
    BARCACHE_RETURN_IF_ERROR(writer.EndLease(name, token).status());
  } else {
    LeaseRow row;
    row.name = name;
    row.token = token;
    row.expires_ns = clock_->WallNs();
    row.error_type = error->type;
    row.error_message = error->message;
    BARCACHE_RETURN_IF_ERROR(writer.FailLease(row).status());
  }
  return writer.Commit();
}

bool FlightBoard::Hold(const std::string& name, const std::string& token) {
  const MutexLock lock(mutex_);
  if (!shared_) return false;  // Closed meanwhile.
  if (held_.empty()) renewed_ns_ = clock_->MonotonicNs();
  held_.emplace(token, name);
  return true;
}

bool FlightBoard::Drop(const std::string& token) {
  const MutexLock lock(mutex_);
  return held_.erase(token) > 0;
}

void FlightBoard::Renew() {
  {
    const MutexLock lock(mutex_);
    if (held_.empty() || Mutant("no_renewal")) return;
  }
  try {
    RenewIfDue();
  } catch (const std::bad_alloc&) {  // A later look tries again, long before a lease is past.
  }
  renewal_.Nudge();
}

void FlightBoard::RenewIfDue() {
  const int64_t now_ns = clock_->MonotonicNs();
  if (now_ns - renewed_ns_ < lease_ns_ / 3) return;
  std::map<std::string, std::string> held;
  {
    const MutexLock lock(mutex_);
    held = held_;
  }
  if (held.empty()) return;
  const Status status = RenewAll(held);
  renewed_ns_ = now_ns;
  if (!status.ok()) report_(held.begin()->second, status);
}

Status FlightBoard::RenewAll(const std::map<std::string, std::string>& held) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  const int64_t expires_ns = clock_->WallNs() + lease_ns_;
  for (const auto& [token, name] : held) {
    // One that was taken over stays so.
    BARCACHE_RETURN_IF_ERROR(writer.RenewLease(name, token, expires_ns).status());
  }
  return writer.Commit();
}

void FlightBoard::Close() {
  std::map<std::string, std::string> held;
  {
    const MutexLock lock(mutex_);
    shared_ = false;
    held.swap(held_);
  }
  renewal_.Stop();
  for (const auto& [token, name] : held) {
    const Status status = End(name, token, nullptr);
    if (!status.ok()) report_(name, status);
  }
}

void FlightBoard::StopForFork() { renewal_.LockForFork(); }

void FlightBoard::LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }

void FlightBoard::UnlockAfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (in_child && !Mutant("child_keeps_leases")) held_.clear();  // They are the parent's.
  const bool holds = !held_.empty();
  mutex_.unlock();
  renewal_.UnlockAfterFork();
  if (holds) renewal_.Nudge();
}

}  // namespace barcache
