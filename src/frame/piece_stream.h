// The parts of a file, encoded side by side, and handed on in the file's order while later parts
// are still encoded. The thread that asks and whoever of the crew is idle do what can be done at
// the moment. Needs no other thread: without one all is done in turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "barcache/status.h"
#include "frame/byte_sink.h"

namespace barcache {

// Takes the bytes of a file, piece by piece in the file's order, one piece at a time; they are gone
// when the call returns.
struct PieceTaker {
  std::function<void(std::span<const uint8_t>)> take;
  // Only the thread that asked for the file calls it; else any, and not always the same one.
  bool by_caller = false;
};

// The bytes of one part. The encoder appends to `sink` and calls EndPage where they may be cut.
class PartSink {
 public:
  using HandOn = std::function<void(ByteSink)>;
  explicit PartSink(HandOn hand_on) : hand_on_(std::move(hand_on)) {}

  ByteSink sink;

  // Hands on what is in the sink if that is enough for a piece.
  void EndPage() {
    if (sink.size() < kPieceBytes) return;
    HandOnRest();
    sink.Reserve(kPieceRoom);
  }
  void HandOnRest() {
    if (sink.size() > 0) hand_on_(std::exchange(sink, ByteSink()));
  }

  // Much more than handing a piece on costs, and small enough for it to stay in the cache of the
  // processor until it was taken.
  static constexpr size_t kPieceBytes = 640 << 10;
  // For a piece that is not enough yet and one more page.
  static constexpr size_t kPieceRoom = 1 << 20;

 private:
  HandOn hand_on_;
};

// Calls `encode` once for each part in [0, part_count), for the last one when all others have
// ended, and each taker with all bytes. Parts are begun in their order. The status is that of a
// part that failed, or ok; after a failure, what nobody has begun is left out. Throws what a part
// or a taker threw.
// REQUIRES: part_count > 0.
Status StreamParts(size_t part_count, const std::function<Status(size_t, PartSink&)>& encode,
                   std::span<const PieceTaker> takers);

// Has each taker take the bytes; side by side if they are many. Throws what one threw.
void HandOn(std::span<const uint8_t> bytes, std::span<const PieceTaker> takers);

}  // namespace barcache
