#include "frame/piece_stream.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

#include "base/crew.h"
#include "base/mutex.h"

namespace barcache {
namespace {

struct Piece {
  ByteSink bytes;
  size_t takers_left = 0;
};

// A deque: pieces stay where they are while others are added.
struct Part {
  std::deque<Piece> pieces;
  bool has_ended = false;
};

// How far a taker is.
struct Progress {
  const PieceTaker* taker = nullptr;
  size_t part = 0;
  size_t piece = 0;
  bool is_busy = false;
};

class PieceStream {
 public:
  PieceStream(size_t part_count, const std::function<Status(size_t, PartSink&)>& encode,
              std::span<const PieceTaker> takers)
      : encode_(encode), parts_(part_count) {
    for (const PieceTaker& taker : takers) progress_.push_back({.taker = &taker});
  }

  // Returns when nothing is left for this thread to do.
  void Work(bool is_caller) BARCACHE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (!has_failed_ && !IsDone(is_caller)) {
      if (Progress* progress = NextTaker(is_caller)) {
        TakeOne(*progress);
      } else if (CanBegin()) {
        EncodeOne(begun_++);
      } else {
        changed_.wait(mutex_);
      }
    }
  }

  // Once no thread is at work.
  Status TakeStatus() BARCACHE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return std::move(status_);
  }

 private:
  // The piece that this taker takes next, or null. Moves on to the next part when one is through.
  Piece* NextPiece(Progress& progress) BARCACHE_REQUIRES(mutex_) {
    for (; progress.part < parts_.size(); ++progress.part, progress.piece = 0) {
      Part& part = parts_[progress.part];
      if (progress.piece < part.pieces.size()) return &part.pieces[progress.piece];
      if (!part.has_ended) return nullptr;
    }
    return nullptr;
  }

  // Pieces are taken before others are made: while they are in the processor's cache.
  Progress* NextTaker(bool is_caller) BARCACHE_REQUIRES(mutex_) {
    for (Progress& progress : progress_) {
      if (progress.is_busy || (progress.taker->by_caller && !is_caller)) continue;
      if (NextPiece(progress) != nullptr) return &progress;
    }
    return nullptr;
  }

  bool CanBegin() const BARCACHE_REQUIRES(mutex_) {
    return begun_ + 1 < parts_.size() || (begun_ + 1 == parts_.size() && ended_ == begun_);
  }

  bool IsDone(bool is_caller) BARCACHE_REQUIRES(mutex_) {
    if (ended_ < parts_.size()) return false;
    for (Progress& progress : progress_) {
      if (progress.taker->by_caller && !is_caller) continue;
      if (progress.is_busy || NextPiece(progress) != nullptr) return false;
    }
    return true;
  }

  void TakeOne(Progress& progress) BARCACHE_REQUIRES(mutex_) {
    Piece& piece = *NextPiece(progress);
    progress.is_busy = true;
    Unlocked([&] { progress.taker->take(piece.bytes.bytes()); });
    progress.is_busy = false;
    ++progress.piece;
    if (--piece.takers_left == 0) piece.bytes = ByteSink();
    changed_.notify_all();
  }

  void EncodeOne(size_t index) BARCACHE_REQUIRES(mutex_) {
    Part& part = parts_[index];
    Status status;
    Unlocked([&] {
      PartSink sink([&](ByteSink bytes) {
        const MutexLock lock(mutex_);
        part.pieces.push_back({std::move(bytes), progress_.size()});
        changed_.notify_all();
      });
      status = encode_(index, sink);
      if (status.ok()) sink.HandOnRest();
    });
    part.has_ended = true;
    ++ended_;
    if (!status.ok() && !has_failed_) {
      has_failed_ = true;
      status_ = std::move(status);
    }
    changed_.notify_all();
  }

  template <typename Step>
  void Unlocked(const Step& step) BARCACHE_REQUIRES(mutex_) {
    mutex_.unlock();
    std::exception_ptr thrown;
    try {
      step();
    } catch (...) {
      thrown = std::current_exception();
    }
    mutex_.lock();
    if (thrown == nullptr) return;
    has_failed_ = true;
    changed_.notify_all();
    std::rethrow_exception(thrown);
  }

  const std::function<Status(size_t, PartSink&)>& encode_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Part> parts_ BARCACHE_GUARDED_BY(mutex_);
  std::vector<Progress> progress_ BARCACHE_GUARDED_BY(mutex_);
  size_t begun_ BARCACHE_GUARDED_BY(mutex_) = 0;
  size_t ended_ BARCACHE_GUARDED_BY(mutex_) = 0;
  bool has_failed_ BARCACHE_GUARDED_BY(mutex_) = false;
  Status status_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace

Status StreamParts(size_t part_count, const std::function<Status(size_t, PartSink&)>& encode,
                   std::span<const PieceTaker> takers) {
  PieceStream stream(part_count, encode, takers);
  Crew& crew = Crew::Shared();
  Crew::Batch helpers(crew,
                      std::min<int64_t>(crew.worker_count(), static_cast<int64_t>(part_count)),
                      [&](int64_t) { stream.Work(false); });
  stream.Work(true);
  helpers.Join();
  return stream.TakeStatus();
}

void HandOn(std::span<const uint8_t> bytes, std::span<const PieceTaker> takers) {
  // Waking a parked thread costs some 20 us: as long as hashing 36 KB.
  constexpr size_t kWorthwhileBytes = 128 << 10;
  if (bytes.size() < kWorthwhileBytes) {
    for (const PieceTaker& taker : takers) taker.take(bytes);
    return;
  }
  Crew::Batch others(Crew::Shared(), static_cast<int64_t>(takers.size()), [&](int64_t index) {
    const PieceTaker& taker = takers[static_cast<size_t>(index)];
    if (!taker.by_caller) taker.take(bytes);
  });
  for (const PieceTaker& taker : takers) {
    if (taker.by_caller) taker.take(bytes);
  }
  others.Join();
}

}  // namespace barcache
