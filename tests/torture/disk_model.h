// DiskModel: what a worker did to the files of a folder, call by call, and what a power cut may
// leave of it.
//
// After a cut everything that a sync had made sure of is there; of the rest any part may be: bytes
// of a file up to its next fsync, names in a folder up to the next fsync of that folder, each write
// whole, in pieces of 512 bytes, or not at all.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace barcache::torture {

struct DiskCall {
  enum class Kind {
    kWrite,   // bytes at offset of the file of this name.
    kResize,  // The file has offset bytes.
    kExtend,  // At least.
    kMake,    // An empty file, if there is none.
    kMakeFolder,
    kRename,  // From name to other.
    kLink,    // The file of name is called other, too.
    kRemove,
    kSync,  // Of a file or a folder.
    kSay,   // bytes are what the worker wrote into its log.
  };
  Kind kind = Kind::kWrite;
  std::string name;  // Below the folder; "": the folder itself.
  std::string other = {};
  int64_t offset = 0;
  std::string bytes = {};
};

// The files of a folder and of the folders in it, by their names.
struct DiskState {
  std::map<std::string, std::string> files;
  std::vector<std::string> folders;

  static DiskState Read(const std::string& folder);
  // Replaces the folder.
  void Write(const std::string& folder) const;
};

class DiskModel {
 public:
  // The state that everything is sure of, and the calls since.
  DiskModel(DiskState begin, std::vector<DiskCall> calls);

  size_t size() const { return steps_.size(); }
  // Whether that call changes a file or a name, or makes such a change sure.
  bool Matters(size_t call) const { return steps_[call].kind != DiskCall::Kind::kSay; }
  // What the worker had said when `count` calls were done.
  std::string SaidBy(size_t count) const;

  // What is left where a cut comes after the first `count` calls. Which part of what is not sure:
  enum class Part {
    kAll,  // As after a kill.
    kNone,
    kButOne,  // All but one change.
    kOne,     // None but one.
    kRandom,  // Each or not, some torn.
  };
  DiskState Cut(size_t count, Part part, std::mt19937_64* random) const;
  // How many changes of the first `count` calls are not sure.
  size_t Unsure(size_t count) const;

 private:
  struct Step {
    DiskCall::Kind kind;
    int file = -1;  // Index of what is changed or named; a number, since names change.
    std::string name;
    std::string other;
    int64_t offset = 0;
    std::string bytes;
    bool changes_names() const {
      using enum DiskCall::Kind;
      return kind == kMake || kind == kMakeFolder || kind == kRename || kind == kLink ||
             kind == kRemove;
    }
    bool changes_bytes() const {
      using enum DiskCall::Kind;
      return kind == kWrite || kind == kResize || kind == kExtend;
    }
  };
  struct Disk;

  void Add(const DiskCall& call, std::map<std::string, int>* names);
  bool IsSure(size_t step, size_t count) const;

  DiskState begin_;
  std::vector<std::string> begin_names_;  // Of the files with the first indices.
  int file_count_ = 0;
  std::vector<Step> steps_;
};

}  // namespace barcache::torture
