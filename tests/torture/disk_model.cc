#include "torture/disk_model.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSectorBytes = 512;

std::string FolderOf(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}

void WriteAt(std::string* content, int64_t offset, const std::string& bytes) {
  const auto at = static_cast<size_t>(offset);
  if (content->size() < at + bytes.size()) content->resize(at + bytes.size(), '\0');
  content->replace(at, bytes.size(), bytes);
}

}  // namespace

DiskState DiskState::Read(const std::string& folder) {
  DiskState state;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::path(item.path()).lexically_relative(folder);
    if (name.ends_with("-shm")) continue;  // SQLite makes it anew.
    if (item.is_directory()) {
      state.folders.push_back(name);
      continue;
    }
    std::ifstream file(item.path(), std::ios::binary);
    state.files[name] = {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  return state;
}

void DiskState::Write(const std::string& folder) const {
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const std::string& name : folders) fs::create_directories(folder + "/" + name);
  for (const auto& [name, content] : files) {
    const std::string path = folder + "/" + name;
    if (!fs::is_directory(fs::path(path).parent_path())) continue;  // Its folder was lost.
    std::ofstream(path, std::ios::binary) << content;
  }
}

// Files by index, with what is called how.
struct DiskModel::Disk {
  std::vector<std::string> contents;
  std::map<std::string, int> names;
  std::set<std::string> folders;

  void Apply(const Step& step) {
    using enum DiskCall::Kind;
    std::string* content = step.file < 0 ? nullptr : &contents[static_cast<size_t>(step.file)];
    switch (step.kind) {
      case kWrite:
        WriteAt(content, step.offset, step.bytes);
        break;
      case kResize:
        content->resize(static_cast<size_t>(step.offset), '\0');
        break;
      case kExtend:
        if (content->size() < static_cast<size_t>(step.offset)) {
          content->resize(static_cast<size_t>(step.offset), '\0');
        }
        break;
      case kMake:
        names[step.name] = step.file;
        break;
      case kMakeFolder:
        folders.insert(step.name);
        break;
      case kRename:
        if (names.contains(step.name) && names[step.name] == step.file) names.erase(step.name);
        names[step.other] = step.file;
        break;
      case kLink:
        names[step.other] = step.file;
        break;
      case kRemove:
        if (names.contains(step.name) && names[step.name] == step.file) names.erase(step.name);
        break;
      case kSync:
      case kSay:
        break;
    }
  }
};

DiskModel::DiskModel(DiskState begin, std::vector<DiskCall> calls) : begin_(std::move(begin)) {
  std::map<std::string, int> names;
  for (const auto& [name, content] : begin_.files) {
    names[name] = file_count_++;
    begin_names_.push_back(name);
  }
  for (const DiskCall& call : calls) Add(call, &names);
}

void DiskModel::Add(const DiskCall& call, std::map<std::string, int>* names) {
  using enum DiskCall::Kind;
  Step step{call.kind, -1, call.name, call.other, call.offset, call.bytes};
  const auto known = names->find(call.name);
  if (known != names->end()) step.file = known->second;
  if (call.kind == kMake) {
    if (step.file >= 0) return;
    step.file = file_count_++;
    (*names)[call.name] = step.file;
  }
  const bool needs_file =
      step.changes_bytes() || call.kind == kRename || call.kind == kLink || call.kind == kRemove;
  if (needs_file && step.file < 0) return;  // Unlinked before, or never there: it changes nothing.
  if (call.kind == kRename || call.kind == kRemove) names->erase(call.name);
  if (call.kind == kRename || call.kind == kLink) (*names)[call.other] = step.file;
  steps_.push_back(std::move(step));
}

std::string DiskModel::SaidBy(size_t count) const {
  std::string said;
  for (size_t i = 0; i < count; ++i) {
    if (steps_[i].kind == DiskCall::Kind::kSay) said += steps_[i].bytes;
  }
  return said;
}

bool DiskModel::IsSure(size_t step, size_t count) const {
  const Step& change = steps_[step];
  std::set<std::string> folders;  // Whose fsync makes it so.
  if (change.changes_names()) {
    folders.insert(FolderOf(change.name));
    if (!change.other.empty()) folders.insert(FolderOf(change.other));
  }
  for (size_t i = step + 1; i < count; ++i) {
    const Step& sync = steps_[i];
    if (sync.kind != DiskCall::Kind::kSync) continue;
    if (change.changes_bytes() && sync.file == change.file) return true;
    if (change.changes_names() && sync.file < 0) folders.erase(sync.name);
    if (change.changes_names() && folders.empty()) return true;
  }
  return false;
}

size_t DiskModel::Unsure(size_t count) const {
  size_t unsure = 0;
  for (size_t i = 0; i < count; ++i) {
    const bool changes = steps_[i].changes_names() || steps_[i].changes_bytes();
    unsure += changes && !IsSure(i, count) ? 1 : 0;
  }
  return unsure;
}

DiskState DiskModel::Cut(size_t count, Part part, std::mt19937_64* random) const {
  Disk disk;
  disk.contents.resize(static_cast<size_t>(file_count_));
  for (size_t i = 0; i < begin_names_.size(); ++i) {
    disk.names[begin_names_[i]] = static_cast<int>(i);
    disk.contents[i] = begin_.files.at(begin_names_[i]);
  }
  disk.folders.insert(begin_.folders.begin(), begin_.folders.end());

  const size_t unsure = Unsure(count);
  const size_t chosen = unsure == 0 ? 0 : (*random)() % unsure;
  const unsigned keeps_of_8 = 1 + static_cast<unsigned>((*random)() % 7);
  size_t seen = 0;
  for (size_t i = 0; i < count; ++i) {
    Step step = steps_[i];
    const bool changes = step.changes_names() || step.changes_bytes();
    if (!changes) continue;
    if (!IsSure(i, count)) {
      const bool is_chosen = seen++ == chosen;
      if (part == Part::kNone) continue;
      if (part == Part::kButOne && is_chosen) continue;
      if (part == Part::kOne && !is_chosen) continue;
      if (part == Part::kRandom) {
        if ((*random)() % 8 >= keeps_of_8) continue;
        if (step.kind == DiskCall::Kind::kWrite && (*random)() % 8 == 0) {
          const auto sectors = static_cast<int64_t>(step.bytes.size()) / kSectorBytes;
          const auto kept = static_cast<int64_t>((*random)() % static_cast<uint64_t>(sectors + 1));
          step.bytes.resize(static_cast<size_t>(kept * kSectorBytes));
        }
      }
    }
    disk.Apply(step);
  }
  DiskState state;
  state.folders.assign(disk.folders.begin(), disk.folders.end());
  for (const auto& [name, file] : disk.names) {
    state.files[name] = disk.contents[static_cast<size_t>(file)];
  }
  return state;
}

}  // namespace barcache::torture
