// SchemaNode: one node of an Arrow schema tree, owned by value: what a column is.
//
// A canonical tree (canonical_schema.h) uses few formats: "n" "b" integers floats "d:p,s" "tdD"
// "ttn" "ts{m,u,n}:zone" "tD{m,u,n}" "vu" "vz" "+L" "+w:N" "+m" "+s", and dictionaries of "vu"
// with "C", "S" or "I" as index.
//
// Thread safety: a value.
#pragma once

#include <arrow/c/abi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace barcache {

struct SchemaNode {
  std::string format;
  std::string name;
  std::string metadata;  // In the encoding of the C data interface; empty: none.
  int64_t flags = ARROW_FLAG_NULLABLE;
  std::vector<SchemaNode> children;
  std::unique_ptr<SchemaNode> dictionary;

  SchemaNode Clone() const;
  // Format, flags, children and dictionary agree; names of fields too, metadata aside.
  bool SameTypeAs(const SchemaNode& other) const;
};

// A C schema of its own (copies everything). `out` is released by its consumer.
void ToArrowSchema(const SchemaNode& node, ArrowSchema* out);
// As it is, metadata included. REQUIRES: a schema that keeps the contract of the C interface.
SchemaNode FromArrowSchema(const ArrowSchema& schema);

// The metadata of the C data interface as pairs, and back. An empty list gives "".
using MetadataPairs = std::vector<std::pair<std::string, std::string>>;
MetadataPairs DecodeMetadata(const char* metadata);
// As above for bytes that may be anything: false if they are not well-formed.
bool DecodeMetadataChecked(const std::string& metadata, MetadataPairs* pairs);
std::string EncodeMetadata(const MetadataPairs& pairs);

}  // namespace barcache
