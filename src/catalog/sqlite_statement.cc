// Statements and SQL functions: binding, stepping, reading values. See sqlite.h.
#include <sqlite3.h>

#include <utility>

#include "catalog/sqlite.h"

namespace barcache {

namespace {

// sqlite3_bind_* take an empty text for NULL when the pointer is null.
const char* NotNull(std::string_view bytes) { return bytes.data() == nullptr ? "" : bytes.data(); }

std::string_view View(const void* bytes, int size) {
  return bytes == nullptr
             ? std::string_view()
             : std::string_view(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

}  // namespace

SqliteStatement& SqliteStatement::operator=(SqliteStatement&& other) noexcept {
  std::swap(connection_, other.connection_);
  std::swap(statement_, other.statement_);
  std::swap(bind_error_, other.bind_error_);
  return *this;
}

SqliteStatement& SqliteStatement::Keep(int code) {
  if (code != SQLITE_OK && bind_error_ == 0) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int index, int64_t value) {
  return Keep(sqlite3_bind_int64(statement_, index, value));
}
SqliteStatement& SqliteStatement::Bind(int index, double value) {
  return Keep(sqlite3_bind_double(statement_, index, value));
}
SqliteStatement& SqliteStatement::Bind(int index, std::string_view text) {
  return Keep(sqlite3_bind_text64(statement_, index, NotNull(text), text.size(), SQLITE_STATIC,
                                  SQLITE_UTF8));
}
SqliteStatement& SqliteStatement::BindBlob(int index, std::string_view bytes) {
  return Keep(sqlite3_bind_blob64(statement_, index, NotNull(bytes), bytes.size(), SQLITE_STATIC));
}
SqliteStatement& SqliteStatement::BindNull(int index) {
  return Keep(sqlite3_bind_null(statement_, index));
}
SqliteStatement& SqliteStatement::BindTextCopy(int index, std::string_view text) {
  return Keep(sqlite3_bind_text64(statement_, index, NotNull(text), text.size(), SQLITE_TRANSIENT,
                                  SQLITE_UTF8));
}
SqliteStatement& SqliteStatement::BindBlobCopy(int index, std::string_view bytes) {
  return Keep(
      sqlite3_bind_blob64(statement_, index, NotNull(bytes), bytes.size(), SQLITE_TRANSIENT));
}
int SqliteStatement::parameter_count() const { return sqlite3_bind_parameter_count(statement_); }
std::string_view SqliteStatement::parameter_name(int index) const {
  const char* name = sqlite3_bind_parameter_name(statement_, index);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

Result<bool> SqliteStatement::Step() {
  if (bind_error_ != 0) return connection_->LastError(bind_error_, "bind a value");
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return connection_->LastError(code, "run a statement");
}

Status SqliteStatement::Run() {
  while (true) {
    Result<bool> row = Step();
    if (!row.ok() || !*row) {
      Reset();
      return row.status();
    }
  }
}

void SqliteStatement::Reset() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  bind_error_ = 0;
}

void SqliteStatement::Finalize() {
  sqlite3_finalize(statement_);
  statement_ = nullptr;
}

int SqliteStatement::column_count() const { return sqlite3_column_count(statement_); }
std::string_view SqliteStatement::column_name(int column) const {
  const char* name = sqlite3_column_name(statement_, column);
  return name == nullptr ? std::string_view() : std::string_view(name);
}
std::string_view SqliteStatement::column_declared_type(int column) const {
  const char* name = sqlite3_column_decltype(statement_, column);
  return name == nullptr ? std::string_view() : std::string_view(name);
}
SqliteType SqliteStatement::type(int column) const {
  return static_cast<SqliteType>(sqlite3_column_type(statement_, column));
}
int64_t SqliteStatement::Int64(int column) const {
  return sqlite3_column_int64(statement_, column);
}
double SqliteStatement::Double(int column) const {
  return sqlite3_column_double(statement_, column);
}
std::string_view SqliteStatement::Text(int column) const {
  const void* text = sqlite3_column_text(statement_, column);  // Before _bytes: it may convert.
  return View(text, sqlite3_column_bytes(statement_, column));
}
std::string_view SqliteStatement::Blob(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  return View(bytes, sqlite3_column_bytes(statement_, column));
}
int64_t SqliteStatement::Int64Or(int column, int64_t fallback) const {
  return type(column) == SqliteType::kInteger ? Int64(column) : fallback;
}
std::string SqliteStatement::TextOr(int column, std::string_view fallback) const {
  return std::string(type(column) == SqliteType::kText ? Text(column) : fallback);
}
bool SqliteStatement::read_only() const { return sqlite3_stmt_readonly(statement_) != 0; }

SqliteType SqliteFunctionCall::type(int argument) const {
  return static_cast<SqliteType>(sqlite3_value_type(values_[argument]));
}
int64_t SqliteFunctionCall::Int64(int argument) const {
  return sqlite3_value_int64(values_[argument]);
}
double SqliteFunctionCall::Double(int argument) const {
  return sqlite3_value_double(values_[argument]);
}
std::string_view SqliteFunctionCall::Text(int argument) const {
  const void* text = sqlite3_value_text(values_[argument]);
  return View(text, sqlite3_value_bytes(values_[argument]));
}
std::string_view SqliteFunctionCall::Blob(int argument) const {
  const void* bytes = sqlite3_value_blob(values_[argument]);
  return View(bytes, sqlite3_value_bytes(values_[argument]));
}
void SqliteFunctionCall::Return(int64_t value) { sqlite3_result_int64(context_, value); }
void SqliteFunctionCall::Return(double value) { sqlite3_result_double(context_, value); }
void SqliteFunctionCall::ReturnText(std::string_view text) {
  sqlite3_result_text64(context_, NotNull(text), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}
void SqliteFunctionCall::ReturnBlob(std::string_view bytes) {
  sqlite3_result_blob64(context_, NotNull(bytes), bytes.size(), SQLITE_TRANSIENT);
}
void SqliteFunctionCall::ReturnNull() { sqlite3_result_null(context_); }
void SqliteFunctionCall::ReturnError(std::string_view message) {
  sqlite3_result_error(context_, NotNull(message), static_cast<int>(message.size()));
}

}  // namespace barcache
