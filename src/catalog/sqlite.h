// SQLite as owned handles: connections, statements, and errors turned into Status.
//
// The only place that calls sqlite3_*; every file of this room, and the Python layer's DBAPI,
// goes through it, so that a process uses one copy of SQLite.
//
// Thread safety: a connection and its statements belong to one thread at a time, unless it was
// opened `serialized`. Statements must be gone before their connection.
// Errors: as StatusFromSqlite says; each message names the database.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/status.h"

struct sqlite3;
struct sqlite3_context;
struct sqlite3_stmt;
struct sqlite3_value;

namespace barcache {

enum class SqliteType { kInteger = 1, kFloat = 2, kText = 3, kBlob = 4, kNull = 5 };

class DatabaseImage;
class SqliteConnection;

// A prepared statement. Text and blobs handed to Bind are not copied: they must live until the
// next Reset. A failed Bind is reported by the next Step.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  SqliteStatement(SqliteStatement&& other) noexcept { *this = std::move(other); }
  SqliteStatement& operator=(SqliteStatement&& other) noexcept;
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;
  ~SqliteStatement() { Finalize(); }

  // False: nothing was prepared (the text was empty, or only a comment).
  bool valid() const { return statement_ != nullptr; }

  // Parameters count from 1.
  SqliteStatement& Bind(int index, int64_t value);
  SqliteStatement& Bind(int index, double value);
  SqliteStatement& Bind(int index, std::string_view text);
  SqliteStatement& BindBlob(int index, std::string_view bytes);
  SqliteStatement& BindNull(int index);
  // As above, with a copy of the bytes.
  SqliteStatement& BindTextCopy(int index, std::string_view text);
  SqliteStatement& BindBlobCopy(int index, std::string_view bytes);
  int parameter_count() const;
  // "" for a parameter without a name.
  std::string_view parameter_name(int index) const;

  // True: a row is there. False: done.
  Result<bool> Step();
  // Steps until done, rows ignored, and resets.
  Status Run();
  void Reset();  // Also forgets what was bound.
  void Finalize();

  // Columns count from 0. Values are converted as SQLite does; views live until the next Step.
  int column_count() const;
  std::string_view column_name(int column) const;
  // Declared type of the column, "" for an expression.
  std::string_view column_declared_type(int column) const;
  SqliteType type(int column) const;
  int64_t Int64(int column) const;
  double Double(int column) const;
  std::string_view Text(int column) const;
  std::string_view Blob(int column) const;
  // The value if it is of this very type, else the fallback: for rows nobody vouches for.
  int64_t Int64Or(int column, int64_t fallback) const;
  std::string TextOr(int column, std::string_view fallback) const;

  bool read_only() const;  // The statement writes nothing by itself.

 private:
  friend class SqliteConnection;
  SqliteStatement(SqliteConnection* connection, sqlite3_stmt* statement)
      : connection_(connection), statement_(statement) {}
  SqliteStatement& Keep(int code);
  SqliteConnection* connection_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int bind_error_ = 0;
};

// A statement lent by its connection for one use; resets it when it goes.
class StatementUse {
 public:
  explicit StatementUse(SqliteStatement* statement) : statement_(statement) {}
  StatementUse(StatementUse&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)) {}
  StatementUse& operator=(StatementUse&& other) noexcept {
    std::swap(statement_, other.statement_);
    return *this;
  }
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;
  ~StatementUse() {
    if (statement_ != nullptr) statement_->Reset();
  }
  SqliteStatement* operator->() const { return statement_; }
  SqliteStatement& operator*() const { return *statement_; }

 private:
  SqliteStatement* statement_;
};

// Arguments and answer of a function called from SQL.
class SqliteFunctionCall {
 public:
  SqliteFunctionCall(sqlite3_context* context, int count, sqlite3_value** values)
      : context_(context), count_(count), values_(values) {}
  int argument_count() const { return count_; }
  SqliteType type(int argument) const;
  int64_t Int64(int argument) const;
  double Double(int argument) const;
  std::string_view Text(int argument) const;
  std::string_view Blob(int argument) const;
  void Return(int64_t value);
  void Return(double value);
  void ReturnText(std::string_view text);
  void ReturnBlob(std::string_view bytes);
  void ReturnNull();
  void ReturnError(std::string_view message);

 private:
  sqlite3_context* context_;
  int count_;
  sqlite3_value** values_;
};
using SqliteFunction = std::function<void(SqliteFunctionCall&)>;

struct SqliteOpenOptions {
  std::string target;  // A path, or a "file:" URI.
  std::string name;    // What messages call the database; "": the target.
  // Read this copy in memory, not the target. Not owned; implies read_only.
  const DatabaseImage* image = nullptr;
  bool read_only = false;
  bool create = true;        // Make the file if it is missing (never with read_only).
  bool serialized = false;   // May be used from several threads.
  bool gathers_log = false;  // The pages of a commit reach the log by one write (log_file.h).
  bool hardened = true;      // DEFENSIVE, trusted_schema=OFF, cell_size_check=ON.
  int64_t busy_timeout_ms = 30'000;
};

class SqliteConnection {
 public:
  static Result<std::unique_ptr<SqliteConnection>> Open(const SqliteOpenOptions& options);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Prepares the first statement of `sql`; `tail`, if given, becomes what follows it.
  Result<SqliteStatement> Prepare(std::string_view sql, std::string_view* tail = nullptr);
  // A statement kept by the connection. REQUIRES: `sql` is a literal (its address is its name).
  Result<StatementUse> Use(const char* sql);
  // Runs every statement of `sql`, rows ignored.
  Status Execute(std::string_view sql);

  int64_t changes() const;        // Rows changed by the last statement itself.
  int64_t total_changes() const;  // Since opening, by triggers too.
  int64_t last_insert_rowid() const;
  bool in_transaction() const;
  bool writable() const;   // False also where the file system allowed only reading.
  int error_code() const;  // Extended code of the last failed call.
  std::string error_message() const;
  void Interrupt();  // From any thread: the running statement fails.
  void set_busy_timeout_ms(int64_t timeout_ms) { busy_timeout_ms_ = timeout_ms; }
  int64_t busy_timeout_ms() const { return busy_timeout_ms_; }
  // Pages in the write-ahead log after this connection's last commit.
  int64_t wal_pages() const { return wal_pages_; }
  // Sets `note` to 1 when SQLite finds the database damaged. REQUIRES: it outlives the connection.
  void NoteDamageIn(std::atomic<uint32_t>* note) { damage_note_ = note; }
  // The last failed call says that the file is damaged, or no database at all; not that the disk
  // did not give it back.
  bool found_damage() const;
  // The file that was opened no longer has the name by which it was opened.
  Result<bool> has_moved() const;
  // Bytes of the database's file as they are, of which SQLite has the only descriptor. Beyond the
  // end: zeros. kIo.
  Status ReadRaw(int64_t offset, void* bytes, int size);
  Result<int64_t> RawSize();
  // When this connection closes, and no other is open in any process, the write-ahead log moves
  // into the database. Else closing leaves the log as it is: SQLite throws a log away that it could
  // not read.
  void CheckpointOnClose();
  // Makes `function` callable from SQL. `argument_count` -1: any number.
  Status CreateFunction(const std::string& name, int argument_count, bool deterministic,
                        SqliteFunction function);
  // The SQLite handle, for what this class does not offer.
  sqlite3* handle() const { return handle_; }
  const std::string& name() const { return name_; }

 private:
  friend class SqliteStatement;
  SqliteConnection() = default;
  Status Configure(const SqliteOpenOptions& options);
  Status LastError(int code, std::string_view doing) const;
  int ReadErrno() const;
  static int OnBusy(void* self, int count);
  static int OnWalCommit(void* self, sqlite3* handle, const char* schema, int pages);

  sqlite3* handle_ = nullptr;
  std::string name_;
  int64_t busy_timeout_ms_ = 0;
  int64_t busy_since_ns_ = 0;
  int64_t wal_pages_ = 0;
  std::atomic<uint32_t>* damage_note_ = nullptr;
  std::vector<std::pair<const char*, std::unique_ptr<SqliteStatement>>> kept_;
};

// kBusy, kNoSpace, kReadOnly, kCatalogCorrupt, kNotACatalog, kIo, kOutOfMemory or kInternal, with
// what happened, to which database, and what to do.
Status StatusFromSqlite(int extended_code, std::string_view detail, std::string_view doing,
                        std::string_view database, int64_t busy_timeout_ms, int system_errno);

const char* SqliteVersion();
int SqliteVersionNumber();

// "file:<path>?<query>" with what a URI reserves escaped.
std::string SqliteUri(std::string_view path, std::string_view query);
std::string EscapeForUri(std::string_view text);

}  // namespace barcache
