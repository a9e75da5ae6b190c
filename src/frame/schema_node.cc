// SchemaNode and the C structs it comes from and goes to.
#include "frame/schema_node.h"

#include <cstring>
#include <utility>

namespace barcache {
namespace {

// What an exported ArrowSchema node owns. Each node is a heap object of its own, so that a
// consumer may move children out.
struct SchemaOwner {
  std::string format;
  std::string name;
  std::string metadata;
  std::vector<ArrowSchema> children;
  std::vector<ArrowSchema*> child_pointers;
  ArrowSchema dictionary{};

  ~SchemaOwner() {
    for (ArrowSchema& child : children) {
      if (child.release != nullptr) child.release(&child);
    }
    if (dictionary.release != nullptr) dictionary.release(&dictionary);
  }
};

void ReleaseSchema(ArrowSchema* schema) {
  delete static_cast<SchemaOwner*>(schema->private_data);
  schema->release = nullptr;
}

void AppendInt32(int32_t value, std::string* out) {
  char bytes[sizeof(value)];
  std::memcpy(bytes, &value, sizeof(value));
  out->append(bytes, sizeof(value));
}

// Reads the int32 at *position and moves on; false beyond `size`.
bool ReadInt32(const char* data, size_t size, size_t* position, int32_t* value) {
  if (size - *position < sizeof(*value)) return false;
  std::memcpy(value, data + *position, sizeof(*value));
  *position += sizeof(*value);
  return true;
}

bool ReadText(const char* data, size_t size, size_t* position, std::string* text) {
  int32_t length = 0;
  if (!ReadInt32(data, size, position, &length)) return false;
  if (length < 0 || static_cast<size_t>(length) > size - *position) return false;
  text->assign(data + *position, static_cast<size_t>(length));
  *position += static_cast<size_t>(length);
  return true;
}

bool DecodePairs(const char* data, size_t size, MetadataPairs* pairs) {
  size_t position = 0;
  int32_t count = 0;
  if (!ReadInt32(data, size, &position, &count) || count < 0) return false;
  for (int32_t i = 0; i < count; ++i) {
    std::pair<std::string, std::string> pair;
    if (!ReadText(data, size, &position, &pair.first)) return false;
    if (!ReadText(data, size, &position, &pair.second)) return false;
    pairs->push_back(std::move(pair));
  }
  return true;
}

}  // namespace

SchemaNode SchemaNode::Clone() const {
  SchemaNode copy;
  copy.format = format;
  copy.name = name;
  copy.metadata = metadata;
  copy.flags = flags;
  copy.children.reserve(children.size());
  for (const SchemaNode& child : children) copy.children.push_back(child.Clone());
  if (dictionary) copy.dictionary = std::make_unique<SchemaNode>(dictionary->Clone());
  return copy;
}

bool SchemaNode::SameTypeAs(const SchemaNode& other) const {
  if (format != other.format || children.size() != other.children.size()) return false;
  if ((dictionary == nullptr) != (other.dictionary == nullptr)) return false;
  if (dictionary && !dictionary->SameTypeAs(*other.dictionary)) return false;
  for (size_t i = 0; i < children.size(); ++i) {
    if (!children[i].SameTypeAs(other.children[i])) return false;
    if (format == "+s" && children[i].name != other.children[i].name) return false;
  }
  return true;
}

void ToArrowSchema(const SchemaNode& node, ArrowSchema* out) {
  auto owner = std::make_unique<SchemaOwner>();
  owner->format = node.format;
  owner->name = node.name;
  owner->metadata = node.metadata;
  owner->children.resize(node.children.size());
  for (size_t i = 0; i < node.children.size(); ++i) {
    ToArrowSchema(node.children[i], &owner->children[i]);
    owner->child_pointers.push_back(&owner->children[i]);
  }
  if (node.dictionary) ToArrowSchema(*node.dictionary, &owner->dictionary);
  *out = ArrowSchema{};
  out->format = owner->format.c_str();
  out->name = owner->name.c_str();
  out->metadata = owner->metadata.empty() ? nullptr : owner->metadata.data();
  out->flags = node.flags;
  out->n_children = static_cast<int64_t>(owner->children.size());
  out->children = owner->child_pointers.data();
  out->dictionary = node.dictionary ? &owner->dictionary : nullptr;
  out->private_data = owner.release();
  out->release = &ReleaseSchema;
}

SchemaNode FromArrowSchema(const ArrowSchema& schema) {
  SchemaNode node;
  node.format = schema.format;
  if (schema.name != nullptr) node.name = schema.name;
  node.flags = schema.flags;
  if (schema.metadata != nullptr) node.metadata = EncodeMetadata(DecodeMetadata(schema.metadata));
  for (int64_t i = 0; i < schema.n_children; ++i) {
    node.children.push_back(FromArrowSchema(*schema.children[i]));
  }
  if (schema.dictionary != nullptr) {
    node.dictionary = std::make_unique<SchemaNode>(FromArrowSchema(*schema.dictionary));
  }
  return node;
}

MetadataPairs DecodeMetadata(const char* metadata) {
  MetadataPairs pairs;
  // The interface gives no total length: the producer is trusted, as for every C struct.
  if (metadata != nullptr) DecodePairs(metadata, SIZE_MAX, &pairs);
  return pairs;
}

bool DecodeMetadataChecked(const std::string& metadata, MetadataPairs* pairs) {
  if (metadata.empty()) return true;
  return DecodePairs(metadata.data(), metadata.size(), pairs);
}

std::string EncodeMetadata(const MetadataPairs& pairs) {
  std::string out;
  if (pairs.empty()) return out;
  AppendInt32(static_cast<int32_t>(pairs.size()), &out);
  for (const auto& [key, value] : pairs) {
    AppendInt32(static_cast<int32_t>(key.size()), &out);
    out += key;
    AppendInt32(static_cast<int32_t>(value.size()), &out);
    out += value;
  }
  return out;
}

}  // namespace barcache
