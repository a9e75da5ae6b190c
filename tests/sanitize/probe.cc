// Broken on purpose, one fault per name: each has to be reported by the build that it is part of,
// or the sanitizer is not on and the silence of the tests says nothing.

#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/block_pool.h"

namespace {

// What the compiler cannot see through.
volatile int zero = 0;

void HeapOverflow() {
  const auto letters = std::make_unique<char[]>(10);
  letters[static_cast<size_t>(10 + zero)] = 'x';
}

void UseAfterFree() {
  auto letters = std::make_unique<char[]>(10);
  char* volatile kept = letters.get();
  letters.reset();
  kept[zero] = 'x';
}

// Of our own recycled memory, which the sanitizer knows only because we tell it.
void UseAfterGive() {
  barcache::BlockPool pool;
  pool.AddShare(1 << 30, 1);
  const barcache::BlockPool::Block block = pool.Take(4 << 20);
  pool.Give(block);
  block.data[zero] = 'x';
}

void Leak() {
  if (std::malloc(static_cast<size_t>(1000 + zero)) == nullptr) std::abort();
}

void SignedOverflow() {
  const int sum = INT_MAX - zero + 1;
  std::printf("%d\n", sum);
}

void DataRace() {
  int counter = 0;
  const auto count = [&counter] {
    for (int i = 0; i < 100'000; ++i) ++counter;
  };
  std::thread one(count);
  std::thread other(count);
  one.join();
  other.join();
  std::printf("%d\n", counter);
}

void LockOrder() {
  std::mutex first;
  std::mutex second;
  std::thread one([&] {
    const std::lock_guard a(first);
    const std::lock_guard b(second);
  });
  one.join();
  std::thread other([&] {
    const std::lock_guard b(second);
    const std::lock_guard a(first);
  });
  other.join();
}

// Of a child that ends without running anything at its end, and that nobody asks how it ended.
void InAChild(const std::function<void()>& fault) {
  const pid_t child = fork();
  if (child == 0) {
    fault();
    _exit(0);
  }
  waitpid(child, nullptr, 0);
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void()>> faults = {
      {"heap-overflow", HeapOverflow},
      {"use-after-free", UseAfterFree},
      {"use-after-give", UseAfterGive},
      {"leak", Leak},
      {"signed-overflow", SignedOverflow},
      {"data-race", DataRace},
      {"lock-order", LockOrder},
      {"heap-overflow-in-child", [] { InAChild(HeapOverflow); }},
      {"signed-overflow-in-child", [] { InAChild(SignedOverflow); }},
      {"data-race-in-child", [] { InAChild(DataRace); }},
      {"nothing", [] {}},
  };
  const auto fault = faults.find(argc == 2 ? argv[1] : "");
  if (fault == faults.end()) return 2;
  fault->second();
  return 0;
}
