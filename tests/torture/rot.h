// What the commands on bit rot share: saying what broke, where they are, and files by plain calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace barcache::torture {

// Prints that a promise was broken, with the place that Progress has; at most twenty times.
void Say(const std::string& what);
// How often.
int CountSaid();
// Ends the program: it could not run.
[[noreturn]] void Refuse(const std::string& why);

// Damage must not make a reader ask for memory without end: 2 GB of address space, no core files.
void LimitMemory();

// Writes down which damage is being tried, so that a crash or a hang can be named.
class Progress {
 public:
  explicit Progress(const std::string& path);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();
  void Mark(uint64_t number);

 private:
  int fd_;
};

// Ends the program if it cannot.
void WriteFile(const std::string& path, std::span<const uint8_t> bytes);
// Makes `to` a copy of a closed or read-only cache: catalog copied, files of cache/ copied too.
// What was in `to` before is gone.
void CopyCache(const std::string& from, const std::string& to);

}  // namespace barcache::torture
