// Which frames barcache holds: the schema of an arriving table, checked recursively and brought
// to the few types of a canonical tree (schema_node.h), as polars.from_arrow would.
//
//   utf8, large_utf8          -> string view       date64, timestamp[s] -> Datetime(ms)
//   binary, large_binary      -> binary view       time32, time64[us]   -> Time (ns)
//   list                      -> large list        duration[s]          -> Duration(ms)
//   decimal32, decimal64      -> decimal128        dictionary of strings: kept (Categorical)
//   dictionary of other values -> the values
//
//   fixed-size binary of a file -> binary view
//
// Refused, naming column and type: Polars Object (arrives as fixed-size binary; a genuine one is
// refused too: cast it to binary), Int128 and UInt128, Array of width 0, Struct without fields,
// duplicate names, decimal256, extension types, intervals, unions, run-end, list views.
//
// Thread safety: pure functions.
#pragma once

#include "barcache/status.h"
#include "frame/schema_node.h"

namespace barcache {

// Who describes the table.
enum class SchemaSource {
  kProducer,  // A program that hands a frame over: extension types are refused.
  kFile,      // A Parquet file: extension types are dropped to their storage, never looked up.
};

// The canonical tree of a table: "+s" whose children are the columns.
// Errors: kUnsupportedFrame.
Result<SchemaNode> CanonicalTable(const ArrowSchema& table, SchemaSource source);

// As above for one column.
Result<SchemaNode> CanonicalColumn(const ArrowSchema& column, SchemaSource source);

// kUnsupportedFrame if two children share a name. `path`: the struct they are in, "" for a table.
Status CheckDistinctNames(const SchemaNode& node, const std::string& path);

}  // namespace barcache
