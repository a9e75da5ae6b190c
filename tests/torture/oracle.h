// The oracle: what a worker was about to do and what it was told is done, in a file outside the
// cache's directory, and what may be found in the cache afterwards.
//
// A worker appends a line by one write(2) before each operation and one after it returned: such a
// line is there when the worker is killed, and outside the file system that loses power.
//
// Keys are numbers below kAllKeys, frames are versions from 1 on; 0 stands for "no entry". The keys
// from kKeyCount on are segments of two series.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "barcache/frame.h"
#include "bars/series.h"
#include "base/file_system.h"

namespace barcache::torture {

inline constexpr int kKeyCount = 12;
inline constexpr int kAllKeys = 18;
inline constexpr int kProbeKey = 99;       // Put and read by whoever verifies; no operation of it.
inline constexpr long kLargeVersion = 99;  // So many above a hundred: the file is above 128 KB.

std::string KeyName(int key);
// Of the series that the segment with this key belongs to: the even ones to "even", others to
// "odd".
SeriesName SeriesOf(int key);
bool IsLarge(long version);
// A frame that says its key and version in every row.
Frame FrameOf(int key, long version);
// The version, if the frame is to the last bit what FrameOf made for this key.
std::optional<long> VersionOf(int key, const Frame& frame);

struct Effect {
  enum class Kind {
    kPut,        // key has this version.
    kErase,      // key has no entry.
    kMayVanish,  // From the beginning of the operation on the entry may be gone.
    kLink,       // key is linked to the backtest.
    kDay,        // hits and misses are added to the recorded days.
    kFact,       // What is called so says exactly this.
    kForget,     // Nothing is known of links, days and facts any more.
  };
  Kind kind = Kind::kPut;
  int key = 0;
  long version = 0;
  std::string backtest = {};
  long hits = 0;
  long misses = 0;
  std::string name = {};
  std::string text = {};  // Neither holds a space.
};

// All of its effects become visible together.
struct Operation {
  std::vector<Effect> effects;
  bool acknowledged = false;
};

class OracleLog {
 public:
  explicit OracleLog(const std::string& path);
  void Begin(const std::vector<Effect>& effects);
  void Ack();

 private:
  void Write(const std::string& line) const;
  FileDescriptor file_;
};

std::vector<Operation> ReadOracle(const std::string& path);

// What may be found: for each key the versions it may have.
struct World {
  std::map<int, std::set<long>> versions;
  std::map<int, std::set<std::string>> links;  // That must be there if the entry is.
  std::map<std::string, std::string> facts;    // "": as if it were not there.
  long hits = 0;
  long misses = 0;

  World();
  // After the operation was done. MayVanish counts from BeginTo on.
  void BeginTo(const Operation& operation);
  void DoneTo(const Operation& operation);
};

// What was found.
struct Finding {
  std::map<int, long> versions;
  std::map<int, std::set<std::string>> links;
  // "pins": the keys pinned; "series.NAME": its coverage; "bars": the days of bar_series.h;
  // "entry.KEY": of a key that is no number.
  std::map<std::string, std::string> facts;
  long hits = 0;
  long misses = 0;
};

// What was found as an operation: whoever looks later must find the same.
Operation AsOperation(const Finding& finding);

// After a kill, or a power cut in full mode: every acknowledged operation is there, the one under
// way is done or not done, and where several were under way, no later one without the earlier.
// Returns what is not so.
std::vector<std::string> Compare(const std::vector<Operation>& operations, const Finding& finding);

// After a power cut in normal mode: what was found is the state after some number of the
// operations, the first of which is what is known to be on the disk; but entries that any later one
// put, replaced or removed may be missing.
std::vector<std::string> CompareLossy(const std::vector<Operation>& operations,
                                      const Finding& finding);

}  // namespace barcache::torture
