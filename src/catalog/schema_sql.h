// The text of every table, index and trigger. SQLite keeps it verbatim from the name on, so that
// the text is also the fingerprint by which an altered object is found.
#pragma once

#include <span>
#include <string_view>

// SQL for a figure of a row that nobody vouches for: it counts only when it is plausible (an
// integer up to 1 TiB), so that a sum can neither overflow nor go below zero.
#define BARCACHE_SQL_FIGURE(column)                      \
  "CASE WHEN typeof(" column ") = 'integer' AND " column \
  " BETWEEN 0 AND 1099511627776 THEN " column " ELSE 0 END"

namespace barcache {

struct SchemaObject {
  std::string_view type;  // "table", "index" or "trigger".
  std::string_view name;
  std::string_view sql;
};

struct SchemaTable {
  std::string_view name;
  std::string_view columns;  // Comma-separated.
};

// RustyBT's, byte for byte what SQLAlchemy's create_all writes; parents before children.
std::span<const SchemaObject> RustyBtSchema();
// What each of the seven tables must have.
std::span<const SchemaTable> RustyBtTables();
// barcache's own.
std::span<const SchemaObject> BarcacheSchema();

}  // namespace barcache
