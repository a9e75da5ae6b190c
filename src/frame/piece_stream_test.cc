#include "frame/piece_stream.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace barcache {
namespace {

// Part `i` of a file: pages of one letter, more of them in later parts.
std::string TextOf(size_t part) {
  return std::string((part % 4) * PartSink::kPieceBytes / 2 + part,
                     static_cast<char>('a' + part % 26));
}

Status EncodeText(size_t part, PartSink& out) {
  const std::string text = TextOf(part);
  constexpr size_t kPage = 100'000;
  for (size_t at = 0; at < text.size(); at += kPage) {
    out.sink.Append(text.data() + at, std::min(kPage, text.size() - at));
    out.EndPage();
  }
  return Status();
}

std::string Whole(size_t part_count) {
  std::string whole;
  for (size_t part = 0; part < part_count; ++part) whole += TextOf(part);
  return whole;
}

PieceTaker AppendTo(std::string* text, bool by_caller = false) {
  return {[text](std::span<const uint8_t> bytes) { text->append(bytes.begin(), bytes.end()); },
          by_caller};
}

TEST(PieceStream, EachTakerGetsAllBytesInOrder) {
  for (const size_t part_count : {1, 2, 3, 40}) {
    std::string first;
    std::string second;
    std::string third;
    const PieceTaker takers[] = {AppendTo(&first, true), AppendTo(&second), AppendTo(&third)};
    ASSERT_TRUE(StreamParts(part_count, EncodeText, takers).ok());
    const std::string whole = Whole(part_count);
    EXPECT_TRUE(first == whole) << part_count;
    EXPECT_TRUE(second == whole) << part_count;
    EXPECT_TRUE(third == whole) << part_count;
  }
}

TEST(PieceStream, ALargePartComesInPiecesBeforeItHasEnded) {
  std::atomic<size_t> taken{0};
  size_t taken_at_the_end = 0;
  // Two parts, since the last one waits for all others; the pieces of the first are there for any
  // thread that is not encoding it.
  const auto encode = [&](size_t part, PartSink& out) {
    if (part == 1) return Status();
    const std::string page(100'000, 'x');
    for (int i = 0; i < 20; ++i) {
      out.sink.Append(page.data(), page.size());
      out.EndPage();
      EXPECT_LT(out.sink.size(), PartSink::kPieceBytes);
    }
    taken_at_the_end = taken;
    return Status();
  };
  size_t pieces = 0;
  const PieceTaker count{[&](std::span<const uint8_t> bytes) {
    taken += bytes.size();
    ++pieces;
  }};
  ASSERT_TRUE(StreamParts(2, encode, {&count, 1}).ok());
  EXPECT_EQ(taken, 2'000'000u);
  EXPECT_EQ(pieces, 3u);
  EXPECT_LT(taken_at_the_end, 2'000'000u);  // The rest is handed on at the end of the part.
}

TEST(PieceStream, TheLastPartComesWhenAllOthersHaveEnded) {
  std::atomic<size_t> ended{0};
  size_t ended_before_last = 0;
  const auto encode = [&](size_t part, PartSink& out) {
    if (part == 19) ended_before_last = ended;
    const Status status = EncodeText(part, out);
    ++ended;
    return status;
  };
  ASSERT_TRUE(StreamParts(20, encode, {}).ok());
  EXPECT_EQ(ended_before_last, 19u);
  EXPECT_EQ(ended, 20u);
}

TEST(PieceStream, ATakerOfTheCallerIsCalledByNobodyElse) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> by_others{0};
  const PieceTaker taker{
      [&](std::span<const uint8_t>) { by_others += std::this_thread::get_id() != caller; }, true};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(StreamParts(20, EncodeText, {&taker, 1}).ok());
  }
  EXPECT_EQ(by_others, 0);
}

TEST(PieceStream, AFailureIsReportedAndTheRestLeftOut) {
  std::atomic<int> begun{0};
  std::string text;
  const PieceTaker taker = AppendTo(&text);
  const auto encode = [&](size_t part, PartSink& out) {
    ++begun;
    if (part < 2) return EncodeText(part, out);
    return Status(ErrorCode::kCorruption, "a part");
  };
  const Status status = StreamParts(1000, encode, {&taker, 1});
  EXPECT_EQ(status.code(), ErrorCode::kCorruption);
  EXPECT_EQ(status.message(), "a part");
  EXPECT_LT(begun, 100);
  EXPECT_TRUE(Whole(2).starts_with(text));
}

TEST(PieceStream, WhatIsThrownReachesTheCaller) {
  const auto no_memory = [](size_t part, PartSink& out) {
    if (part == 5) throw std::bad_alloc();
    return EncodeText(part, out);
  };
  const PieceTaker refuse{[](std::span<const uint8_t>) { throw std::bad_alloc(); }};
  const PieceTaker refuse_here{refuse.take, true};
  for (int i = 0; i < 20; ++i) {
    EXPECT_THROW((void)StreamParts(10, no_memory, {}), std::bad_alloc);
    EXPECT_THROW((void)StreamParts(10, EncodeText, {&refuse, 1}), std::bad_alloc);
    EXPECT_THROW((void)StreamParts(10, EncodeText, {&refuse_here, 1}), std::bad_alloc);
  }
}

TEST(PieceStream, BytesThatAreThereAreHandedOnWhole) {
  const PieceTaker refuse{[](std::span<const uint8_t>) { throw std::bad_alloc(); }};
  const std::thread::id caller = std::this_thread::get_id();
  for (const size_t size : {0, 10, 1'000'000}) {
    const std::vector<uint8_t> bytes(size, 'x');
    std::string first;
    std::string second;
    bool is_caller = false;
    const PieceTaker takers[] = {AppendTo(&second),
                                 {[&](std::span<const uint8_t> all) {
                                    first.append(all.begin(), all.end());
                                    is_caller = std::this_thread::get_id() == caller;
                                  },
                                  true}};
    HandOn(bytes, takers);
    EXPECT_EQ(first, std::string(size, 'x'));
    EXPECT_EQ(second, first);
    EXPECT_TRUE(is_caller);
    EXPECT_THROW(HandOn(bytes, {&refuse, 1}), std::bad_alloc);
  }
}

TEST(PieceStream, NeedsNoOtherThread) {
  const pid_t child = fork();
  if (child == 0) {
    std::string first;
    std::string second;
    const PieceTaker takers[] = {AppendTo(&first, true), AppendTo(&second)};
    const bool good = StreamParts(9, EncodeText, takers).ok();
    _exit(good && first == Whole(9) && second == first ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace barcache
