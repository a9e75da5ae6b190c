// Schemas as text. See schema_text.h.
#include "frame/schema_text.h"

#include "frame/frame_data.h"
#include "frame/frame_import.h"
#include "frame/schema_node.h"
#include "frame/stored_schema.h"

namespace barcache {

std::string SchemaTextOf(const Frame& frame) {
  return SerializeSchema(FromArrowSchema(frame.data()->schema));
}

Result<Frame> EmptyFrameOf(std::string_view schema_text) {
  BARCACHE_ASSIGN_OR_RETURN(const SchemaNode table, ParseStoredSchema(schema_text));
  if (!HasSoundMetadata(table)) {
    return Status(ErrorCode::kCorruption, "a schema holds metadata that nobody can read");
  }
  FrameData owner;  // Releases the schema.
  ToArrowSchema(table, &owner.schema);
  std::vector<ArrowArray> no_batches;
  return ImportBatches(owner.schema, table, no_batches, ImportMode::kCopy);
}

}  // namespace barcache
