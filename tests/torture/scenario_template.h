// What lies in a folder before a scenario begins: see Scenario::prepare.
#pragma once

#include <string>

#include "torture/worker.h"

namespace barcache::torture {

// Keys 0 to 7 have version 1; 0 to 3 belong to bt-0, 2 to 5 to bt-1. Closed.
void Filled(Worker& worker, const std::string& folder);
// The same, of a process that died: SQLite's log is there, and its index.
void Left(Worker& worker, const std::string& folder);
// The same, died between a commit and the change counters.
void LeftOdd(Worker& worker, const std::string& folder);
// The same with so long a log that the next writer moves it into the database.
void LongLog(Worker& worker, const std::string& folder);
// A missing file, a file of wrong bytes, an orphan and a temporary file.
void Damaged(Worker& worker, const std::string& folder);
// Filled, with two series: "even" has bars of days 0 to 1 in segment 12, "odd" of days 0 in 13.
void FilledLedger(Worker& worker, const std::string& folder);
// Filled, with four segments of three bars each.
void FilledBars(Worker& worker, const std::string& folder);
// Filled, pinned, with a ledger; then the catalog's header is overwritten, and all but the ledger
// can be salvaged; or the first page of another table, and all can.
void DamagedCatalog(Worker& worker, const std::string& folder);
void DamagedPage(Worker& worker, const std::string& folder);
// Only entries can be known: the catalog's file is gone; or empty, the log of a dead process there.
void LostCatalog(Worker& worker, const std::string& folder);
void EmptiedCatalog(Worker& worker, const std::string& folder);
// Kept directories of older releases and of RustyBT. What is in them is what a process finds that
// opened a copy and was not killed.
void Schema1(Worker& worker, const std::string& folder);
void Schema2(Worker& worker, const std::string& folder);
void RustyBt(Worker& worker, const std::string& folder);

}  // namespace barcache::torture
