#include "torture/oracle.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "frame/frame_data.h"
#include "frame/sample_frame.h"

namespace barcache::torture {
namespace {

constexpr double kKeyStep = 1e6;  // Prices of different keys and versions never meet.

int64_t RowsOf(int key, long version) {
  if (version >= kLargeVersion) return 20'000 + version;
  return 8 + (key * 31 + version * 17) % 60;
}

std::string EffectText(const Effect& effect) {
  const std::string key = std::to_string(effect.key);
  switch (effect.kind) {
    case Effect::Kind::kPut:
      return "put " + key + " " + std::to_string(effect.version);
    case Effect::Kind::kErase:
      return "erase " + key;
    case Effect::Kind::kMayVanish:
      return "may_vanish " + key;
    case Effect::Kind::kLink:
      return "link " + key + " " + effect.backtest;
    case Effect::Kind::kDay:
      break;
  }
  return "day " + std::to_string(effect.hits) + " " + std::to_string(effect.misses);
}

std::optional<Effect> ReadEffect(std::istream& line) {
  std::string kind;
  if (!(line >> kind)) return std::nullopt;
  Effect effect;
  if (kind == "day") {
    effect.kind = Effect::Kind::kDay;
    line >> effect.hits >> effect.misses;
    return effect;
  }
  line >> effect.key;
  if (kind == "put") {
    line >> effect.version;
  } else if (kind == "erase") {
    effect.kind = Effect::Kind::kErase;
  } else if (kind == "may_vanish") {
    effect.kind = Effect::Kind::kMayVanish;
  } else {
    effect.kind = Effect::Kind::kLink;
    line >> effect.backtest;
  }
  return effect;
}

std::string Text(const std::set<long>& versions) {
  std::string text;
  for (const long version : versions) {
    text += (text.empty() ? "" : " or ") + (version == 0 ? "nothing" : std::to_string(version));
  }
  return text;
}

std::vector<std::string> Differences(const World& world, const Finding& finding) {
  std::vector<std::string> differences;
  for (const auto& [key, version] : finding.versions) {
    const std::set<long>& allowed = world.versions.at(key);
    if (!allowed.contains(version)) {
      differences.push_back(KeyName(key) + " has " + Text({version}) + ", not " + Text(allowed));
    }
    if (version == 0 || !world.links.contains(key)) continue;
    for (const std::string& backtest : world.links.at(key)) {
      if (finding.links.contains(key) && finding.links.at(key).contains(backtest)) continue;
      differences.push_back(KeyName(key) + " lost its link to " + backtest);
    }
  }
  if (finding.hits != world.hits || finding.misses != world.misses) {
    differences.push_back("days count " + std::to_string(finding.hits) + " hits and " +
                          std::to_string(finding.misses) + " misses, not " +
                          std::to_string(world.hits) + " and " + std::to_string(world.misses));
  }
  return differences;
}

}  // namespace

std::string KeyName(int key) { return "key-" + std::to_string(key); }

Frame FrameOf(int key, long version) {
  return SampleBars(RowsOf(key, version), key * kKeyStep + static_cast<double>(version));
}

std::optional<long> VersionOf(int key, const Frame& frame) {
  if (!frame.valid() || frame.num_columns() != 2 || frame.num_rows() < 1) return std::nullopt;
  const ArrowArray& closes = *frame.data()->array.children[1];
  const double first = static_cast<const double*>(closes.buffers[1])[closes.offset];
  const double version = first - key * kKeyStep;
  if (version < 1 || version >= kKeyStep) return std::nullopt;
  const auto number = static_cast<long>(version);
  return SameFrame(frame, FrameOf(key, number)) ? std::optional<long>(number) : std::nullopt;
}

OracleLog::OracleLog(const std::string& path)
    : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  if (!file_.valid()) {
    std::perror(path.c_str());
    std::exit(2);
  }
}

void OracleLog::Write(const std::string& line) const {
  if (::write(file_.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size())) return;
  std::perror("torture: oracle");
  std::exit(2);
}

void OracleLog::Begin(const std::vector<Effect>& effects) {
  std::string line = "begin";
  for (const Effect& effect : effects) line += " " + EffectText(effect);
  Write(line + "\n");
}

void OracleLog::Ack() { Write("ack\n"); }

std::vector<Operation> ReadOracle(const std::string& path) {
  std::vector<Operation> operations;
  std::ifstream file(path);
  std::string text;
  while (std::getline(file, text)) {
    std::istringstream line(text);
    std::string word;
    line >> word;
    if (word == "ack") {
      operations.back().acknowledged = true;
      continue;
    }
    operations.emplace_back();
    while (auto effect = ReadEffect(line)) operations.back().effects.push_back(std::move(*effect));
  }
  return operations;
}

World::World() {
  for (int key = 0; key < kKeyCount; ++key) versions[key] = {0};
}

void World::BeginTo(const Operation& operation) {
  for (const Effect& effect : operation.effects) {
    if (effect.kind == Effect::Kind::kMayVanish) versions[effect.key].insert(0);
    // An entry made anew has no links; whether this one is that is not known.
    const bool makes = effect.kind == Effect::Kind::kPut && versions[effect.key].contains(0);
    if (makes || effect.kind == Effect::Kind::kErase) links[effect.key].clear();
  }
}

void World::DoneTo(const Operation& operation) {
  for (const Effect& effect : operation.effects) {
    switch (effect.kind) {
      case Effect::Kind::kPut:
        versions[effect.key] = {effect.version};
        break;
      case Effect::Kind::kErase:
        versions[effect.key] = {0};
        break;
      case Effect::Kind::kMayVanish:
        break;
      case Effect::Kind::kLink:
        links[effect.key].insert(effect.backtest);
        break;
      case Effect::Kind::kDay:
        hits += effect.hits;
        misses += effect.misses;
        break;
    }
  }
}

Operation AsOperation(const Finding& finding) {
  Operation operation;
  for (const auto& [key, version] : finding.versions) {
    const auto kind = version == 0 ? Effect::Kind::kErase : Effect::Kind::kPut;
    operation.effects.push_back({.kind = kind, .key = key, .version = version});
  }
  operation.acknowledged = true;
  return operation;
}

std::vector<std::string> Compare(const std::vector<Operation>& operations, const Finding& finding) {
  World world;
  std::optional<World> done;
  for (const Operation& operation : operations) {
    world.BeginTo(operation);
    if (!operation.acknowledged) {
      done = world;
      done->DoneTo(operation);
      continue;
    }
    world.DoneTo(operation);
    if (!done) continue;
    done->BeginTo(operation);
    done->DoneTo(operation);
  }
  std::vector<std::string> not_done = Differences(world, finding);
  if (not_done.empty() || !done) return not_done;
  std::vector<std::string> if_done = Differences(*done, finding);
  if (if_done.empty()) return {};
  not_done.insert(not_done.begin(), "neither as before nor as after the operation under way:");
  not_done.insert(not_done.end(), if_done.begin(), if_done.end());
  return not_done;
}

}  // namespace barcache::torture
