// A series of bars in segments that are merged: what is put there, and what the ledger serves.
//
// Its bars are days; a bar is worth its number. The oracle knows it by the fact "bars", the list of
// its days in order.
#pragma once

#include <string>
#include <vector>

#include "barcache/cache.h"
#include "bars/series.h"
#include "torture/worker.h"

namespace barcache::torture {

SeriesName BarSeries();
// Puts a segment with the bars of these days, and then records it.
void PutBars(Worker& worker, int first_day, int last_day);
// Makes one segment out of those that are neighbours; no bar changes.
void MergeBars(Worker& worker);
// The days whose bars the ledger serves, between commas. Adds to `broken` a segment that is not
// there, a bar that is not worth its day, and days that are out of order or there twice.
std::string BarsFound(Cache* cache, std::vector<std::string>* broken);

}  // namespace barcache::torture
