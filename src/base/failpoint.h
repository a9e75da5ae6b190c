// Failpoint: named places where a test build dies, stops, or leaves a step out.
//
// Only a build with -DBARCACHE_TEST_BUILD=ON (build/torture) has them; in every other build the
// calls below are nothing. What happens is said by the environment, read once:
//
//   BARCACHE_FAILPOINT=put.renamed:2:kill   the second time put.renamed is passed: SIGKILL
//   BARCACHE_FAILPOINT=*:17:stop            the 17th time any failpoint is passed: SIGSTOP
//   BARCACHE_FAILPOINTS_PASSED=/a/file      the name of each failpoint passed, a line each
//   BARCACHE_MUTANT=no_file_sync            the step that asks for this name is left out
//
// Names of failpoints are room.moment; names of mutants say what is missing. The list of mutants
// is tests/torture/mutants.py.
//
// Thread safety: pure counters; any thread.
#pragma once

namespace barcache {

#ifdef BARCACHE_TEST_BUILD
// REQUIRES: name is a literal.
void Failpoint(const char* name);
bool Mutant(const char* name);
#else
inline void Failpoint(const char* /*name*/) {}
inline constexpr bool Mutant(const char* /*name*/) { return false; }
#endif

}  // namespace barcache
