// The sub-commands of the torture program: `torture NAME --option value ...`.
//
// Each is one process that does one thing to a cache, or looks at one and says what is wrong with
// it; tests/torture/*.py start, kill, starve and compare them.
//
// A command returns the exit code: 0 all as promised, 1 a promise was broken (said on stdout, a
// line each), 2 the command itself could not run.
#pragma once

#include <map>
#include <string>

namespace barcache::torture {

// Options by name, without the dashes. Every option has a value.
using Options = std::map<std::string, std::string>;

// The value, or the fallback; without a fallback a missing option ends the program with a message.
std::string Text(const Options& options, const std::string& name);
std::string Text(const Options& options, const std::string& name, const std::string& fallback);
long Number(const Options& options, const std::string& name);
long Number(const Options& options, const std::string& name, long fallback);

int CompareKeys(const Options& options);
int Failpoints(const Options& options);
int ForkEnd(const Options& options);
int ForkStorm(const Options& options);
int HostileFile(const Options& options);
int HostilePaths(const Options& options);
int Kills(const Options& options);
int Power(const Options& options);
int ReplayCalls(const Options& options);
int RotCatalog(const Options& options);
int RotFile(const Options& options);
int RotImage(const Options& options);
int Scenarios(const Options& options);  // Prints the names that kills --scenario takes.
int StormCheck(const Options& options);
int StormEnd(const Options& options);
int StormWorker(const Options& options);
int Version(const Options& options);  // Prints which failpoints build this is.

}  // namespace barcache::torture
