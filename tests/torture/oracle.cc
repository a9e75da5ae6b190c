#include "torture/oracle.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "frame/frame_data.h"
#include "frame/sample_frame.h"

namespace barcache::torture {
namespace {

constexpr double kKeyStep = 1e6;  // Prices of different keys and versions never meet.

int64_t RowsOf(int key, long version) {
  if (IsLarge(version)) return 20'000;
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
    case Effect::Kind::kFact:
      return "fact " + effect.name + " " + (effect.text.empty() ? "-" : effect.text);
    case Effect::Kind::kForget:
      return "forget";
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
  if (kind == "forget") {
    effect.kind = Effect::Kind::kForget;
    return effect;
  }
  if (kind == "fact") {
    effect.kind = Effect::Kind::kFact;
    line >> effect.name >> effect.text;
    if (effect.text == "-") effect.text.clear();
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

void AddOtherFacts(const World& world, const Finding& finding,
                   std::vector<std::string>* differences) {
  std::map<std::string, std::string> said = world.facts;
  for (const auto& [name, text] : finding.facts) said.try_emplace(name, "");
  for (const auto& [name, text] : said) {
    const auto found = finding.facts.find(name);
    const std::string is = found == finding.facts.end() ? "" : found->second;
    if (is != text) differences->push_back(name + " is '" + is + "', not '" + text + "'");
  }
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
  AddOtherFacts(world, finding, &differences);
  if (finding.hits != world.hits || finding.misses != world.misses) {
    differences.push_back("days count " + std::to_string(finding.hits) + " hits and " +
                          std::to_string(finding.misses) + " misses, not " +
                          std::to_string(world.hits) + " and " + std::to_string(world.misses));
  }
  return differences;
}

}  // namespace

bool IsLarge(long version) { return version % 100 == kLargeVersion; }

std::string KeyName(int key) {
  if (key < kKeyCount || key >= kAllKeys) return "key-" + std::to_string(key);
  char number[17];
  std::snprintf(number, sizeof(number), "%016x", static_cast<unsigned>(key));
  return SeriesKeyOf(SeriesOf(key)) + ":" + number;
}

SeriesName SeriesOf(int key) { return {"vendor", "1d", "", key % 2 == 0 ? "even" : "odd"}; }

// One column; its first value says key and version, the others are noise that no codec shortens.
Frame FrameOf(int key, long version) {
  const double first = key * kKeyStep + static_cast<double>(version);
  std::vector<double> values(static_cast<size_t>(RowsOf(key, version)), first);
  std::mt19937_64 noise(static_cast<uint64_t>(first));
  for (size_t row = 1; row < values.size(); ++row) {
    values[row] = std::bit_cast<double>((noise() >> 12) | 0x3ff0000000000000);  // From 1 to 2.
  }
  const auto rows = static_cast<int64_t>(values.size());
  const void* value_buffers[] = {nullptr, values.data()};
  const void* no_buffers[] = {nullptr};
  const auto keep_array = [](ArrowArray* array) { array->release = nullptr; };
  const auto keep_schema = [](ArrowSchema* schema) { schema->release = nullptr; };
  ArrowArray column{rows, 0, 0, 2, 0, value_buffers, nullptr, nullptr, keep_array, nullptr};
  ArrowArray* columns[] = {&column};
  ArrowArray array{rows, 0, 0, 1, 1, no_buffers, columns, nullptr, keep_array, nullptr};
  ArrowSchema field{"g", "value", nullptr, 0, 0, nullptr, nullptr, keep_schema, nullptr};
  ArrowSchema* fields[] = {&field};
  ArrowSchema schema{"+s", "", nullptr, 0, 1, fields, nullptr, keep_schema, nullptr};
  auto frame = Frame::FromArray(&schema, &array, ImportMode::kCopy);
  return frame.ok() ? std::move(frame).value() : Frame();
}

std::optional<long> VersionOf(int key, const Frame& frame) {
  if (!frame.valid() || frame.num_columns() != 1 || frame.num_rows() < 1) return std::nullopt;
  const ArrowArray& values = *frame.data()->array.children[0];
  const double first = static_cast<const double*>(values.buffers[1])[values.offset];
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
  for (int key = 0; key < kAllKeys; ++key) versions[key] = {0};
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
      case Effect::Kind::kFact:
        facts[effect.name] = effect.text;
        break;
      case Effect::Kind::kForget:
        links.clear();
        facts.clear();
        hits = misses = 0;
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
  for (const auto& [name, text] : finding.facts) {
    operation.effects.push_back({.kind = Effect::Kind::kFact, .name = name, .text = text});
  }
  operation.acknowledged = true;
  return operation;
}

std::vector<std::string> Compare(const std::vector<Operation>& operations, const Finding& finding) {
  std::vector<World> worlds(1);
  for (const Operation& operation : operations) {
    if (!operation.acknowledged) {
      // Done or not done; of several the earlier ones were done first.
      for (World& world : worlds) world.BeginTo(operation);
      worlds.push_back(worlds.back());
      worlds.back().DoneTo(operation);
      continue;
    }
    for (World& world : worlds) {
      world.BeginTo(operation);
      world.DoneTo(operation);
    }
  }
  std::vector<std::string> differences;
  for (const World& world : worlds) {
    std::vector<std::string> more = Differences(world, finding);
    if (more.empty()) return {};
    if (!differences.empty()) differences.emplace_back("or else");
    differences.insert(differences.end(), more.begin(), more.end());
  }
  return differences;
}

std::vector<std::string> CompareLossy(const std::vector<Operation>& operations,
                                      const Finding& finding) {
  std::set<int> touched;
  for (size_t i = 1; i < operations.size(); ++i) {
    for (const Effect& effect : operations[i].effects) {
      if (effect.kind < Effect::Kind::kDay) touched.insert(effect.key);
    }
  }
  World world;
  std::vector<std::string> at_the_end;
  for (const Operation& operation : operations) {
    world.BeginTo(operation);
    world.DoneTo(operation);
    World lossy = world;
    for (const int key : touched) lossy.versions[key].insert(0);
    at_the_end = Differences(lossy, finding);
    if (at_the_end.empty()) return {};
  }
  at_the_end.insert(at_the_end.begin(), "after no number of operations; after all of them:");
  return at_the_end;
}

}  // namespace barcache::torture
