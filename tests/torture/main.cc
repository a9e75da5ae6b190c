// torture NAME --option value ...: see command.h.

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "catalog/catalog.h"
#include "torture/command.h"

namespace barcache::torture {
namespace {

struct Command {
  const char* name;
  int (*run)(const Options& options);
};
// clang-format off
constexpr Command kCommands[] = {
    {"compare-keys", CompareKeys},
    {"failpoints", Failpoints},
    {"fork-end", ForkEnd},
    {"fork-storm", ForkStorm},
    {"hostile-file", HostileFile},
    {"hostile-paths", HostilePaths},
    {"kills", Kills},
    {"power", Power},
    {"replay", ReplayCalls},
    {"rot-catalog", RotCatalog},
    {"rot-file", RotFile},
    {"rot-image", RotImage},
    {"scenarios", Scenarios},
    {"storm-check", StormCheck},
    {"storm-end", StormEnd},
    {"storm-worker", StormWorker},
    {"version", Version},
};
// clang-format on

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "torture: %s\n", why.c_str());
  std::exit(2);
}

long ParseNumber(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') Refuse("--" + name + " takes a number, not '" + text + "'");
  return number;
}

}  // namespace

std::string Text(const Options& options, const std::string& name) {
  const auto it = options.find(name);
  if (it == options.end()) Refuse("--" + name + " is missing");
  return it->second;
}

std::string Text(const Options& options, const std::string& name, const std::string& fallback) {
  return options.contains(name) ? Text(options, name) : fallback;
}

long Number(const Options& options, const std::string& name) {
  return ParseNumber(name, Text(options, name));
}

long Number(const Options& options, const std::string& name, long fallback) {
  return options.contains(name) ? Number(options, name) : fallback;
}

int Version(const Options& /*options*/) {
  std::printf("barcache with failpoints, SQLite %s\n", Catalog::sqlite_version());
  return 0;
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    if (!name.starts_with("--") || i + 1 == argc) Refuse("'" + name + "' is no --option value");
    options[name.substr(2)] = argv[i + 1];
  }
  for (const Command& command : kCommands) {
    if (argc > 1 && std::string_view(argv[1]) == command.name) return command.run(options);
  }
  std::fprintf(stderr, "torture: the commands are");
  for (const Command& command : kCommands) std::fprintf(stderr, " %s", command.name);
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace barcache::torture

int main(int argc, char** argv) { return barcache::torture::Main(argc, argv); }
