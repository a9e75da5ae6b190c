// Connections and statements of the core's copy of SQLite, for barcache.sqlite_dbapi.
//
// What PEP 249 asks for beyond them (cursors, transactions, exceptions) is in the Python file.
//
// Thread safety: any object may be used from any thread; a connection does one thing at a time.
// The GIL is released while SQLite works, and never held while waiting for a connection.
// Lifetime: closing a connection finalizes its statements; using them afterwards is an error.
// Errors: SqliteFailure(extended code, SQLite's message), which the Python file translates.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "catalog/sqlite.h"
#include "python/bindings.h"
#include "python/gil.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

// Primary result codes of SQLite that this file makes itself.
constexpr int kSqliteError = 1;
constexpr int kSqliteCantOpen = 14;
constexpr int kSqliteMisuse = 21;

[[noreturn]] void Fail(int code, std::string_view message) {
  const nb::object failure = nb::module_::import_("barcache._core").attr("SqliteFailure");
  const nb::object error = failure(code, nb::str(message.data(), message.size()));
  PyErr_SetObject(failure.ptr(), error.ptr());
  throw nb::python_error();
}

[[noreturn]] void RaisePythonError() { throw nb::python_error(); }

class NativeStatement;

// What a connection shares with its statements. `connection` is null once it is closed.
struct Shared {
  std::recursive_mutex mutex;  // Recursive: a function called from SQL may use the connection.
  std::unique_ptr<SqliteConnection> connection;
  std::set<NativeStatement*> statements;
};

// Holds a connection. The GIL is let go while waiting, so that its owner can take it.
class Held {
 public:
  explicit Held(Shared& shared) : lock_(shared.mutex, std::try_to_lock) {
    if (lock_.owns_lock()) return;
    GilRelease released;
    lock_.lock();
  }

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

SqliteConnection& Open(Shared& shared) {
  if (shared.connection == nullptr) Fail(kSqliteMisuse, "Cannot operate on a closed database.");
  return *shared.connection;
}

[[noreturn]] void FailAsLast(Shared& shared) {
  const SqliteConnection& connection = Open(shared);
  Fail(connection.error_code(), connection.error_message());
}

nb::object ToPython(SqliteType type, const auto& source, int index) {
  PyObject* made = nullptr;
  switch (type) {
    case SqliteType::kInteger:
      made = PyLong_FromLongLong(source.Int64(index));
      break;
    case SqliteType::kFloat:
      made = PyFloat_FromDouble(source.Double(index));
      break;
    case SqliteType::kText: {
      const std::string_view text = source.Text(index);
      made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "strict");
      if (made == nullptr) {
        PyErr_Clear();
        Fail(kSqliteError, "Could not decode to UTF-8 column " + std::to_string(index));
      }
      break;
    }
    case SqliteType::kBlob: {
      const std::string_view bytes = source.Blob(index);
      made = PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
      break;
    }
    case SqliteType::kNull:
      return nb::none();
  }
  if (made == nullptr) RaisePythonError();
  return nb::steal(made);
}

// The text of a str, or nullopt for another type. Raises UnicodeEncodeError for lone surrogates.
std::optional<std::string_view> TextOf(nb::handle value) {
  if (!PyUnicode_Check(value.ptr())) return std::nullopt;
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (text == nullptr) RaisePythonError();
  return std::string_view(text, static_cast<size_t>(size));
}

// The bytes of any object with the buffer protocol.
class BytesView {
 public:
  explicit BytesView(nb::handle value)
      : valid_(PyObject_GetBuffer(value.ptr(), &buffer_, PyBUF_SIMPLE) == 0) {
    if (!valid_) PyErr_Clear();
  }
  ~BytesView() {
    if (valid_) PyBuffer_Release(&buffer_);
  }
  BytesView(const BytesView&) = delete;
  BytesView& operator=(const BytesView&) = delete;
  bool valid() const { return valid_; }
  std::string_view bytes() const {
    return {static_cast<const char*>(buffer_.buf), static_cast<size_t>(buffer_.len)};
  }

 private:
  Py_buffer buffer_{};
  bool valid_;
};

int64_t IntegerOf(nb::handle value) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow != 0) {
    PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to SQLite INTEGER");
    RaisePythonError();
  }
  if (number == -1 && PyErr_Occurred() != nullptr) RaisePythonError();
  return number;
}

void BindValue(SqliteStatement& statement, int index, nb::handle value) {
  if (value.is_none()) {
    statement.BindNull(index);
  } else if (PyLong_Check(value.ptr())) {
    statement.Bind(index, IntegerOf(value));
  } else if (PyFloat_Check(value.ptr())) {
    statement.Bind(index, PyFloat_AsDouble(value.ptr()));
  } else if (const std::optional<std::string_view> text = TextOf(value)) {
    statement.BindTextCopy(index, *text);
  } else if (const BytesView view(value); view.valid()) {
    statement.BindBlobCopy(index, view.bytes());
  } else {
    const std::string type = nb::cast<std::string>(value.type().attr("__name__"));
    nb::raise_type_error("Error binding parameter %d: type '%s' is not supported", index,
                         type.c_str());
  }
}

void BindAll(SqliteStatement& statement, nb::handle values) {
  const int wanted = statement.parameter_count();
  if (nb::isinstance<nb::dict>(values)) {
    const nb::dict named = nb::borrow<nb::dict>(values);
    for (int index = 1; index <= wanted; ++index) {
      std::string_view name = statement.parameter_name(index);
      if (name.empty()) nb::raise_type_error("Binding %d has no name, but a dict was given", index);
      name.remove_prefix(1);
      const nb::str key(name.data(), name.size());
      if (!named.contains(key)) {
        nb::raise_type_error("You did not supply a value for binding parameter :%s.", key.c_str());
      }
      BindValue(statement, index, named[key]);
    }
    return;
  }
  const auto given = static_cast<int>(nb::len(values));
  if (given != wanted) {
    nb::raise_type_error(
        "Incorrect number of bindings supplied. The current statement uses %d, and there are %d "
        "supplied.",
        wanted, given);
  }
  for (int index = 1; index <= wanted; ++index) BindValue(statement, index, values[index - 1]);
}

class NativeStatement {
 public:
  NativeStatement(std::shared_ptr<Shared> shared, SqliteStatement statement)
      : shared_(std::move(shared)), statement_(std::move(statement)) {
    shared_->statements.insert(this);
  }
  ~NativeStatement() {
    const Held held(*shared_);
    shared_->statements.erase(this);
    statement_.Finalize();
  }
  NativeStatement(const NativeStatement&) = delete;
  NativeStatement& operator=(const NativeStatement&) = delete;

  void Bind(nb::handle values) {
    const Held held(*shared_);
    Open(*shared_);
    statement_.Reset();
    BindAll(statement_, values);
  }

  // The next row as a tuple, None when there is none.
  nb::object Step() {
    const Held held(*shared_);
    return Next();
  }

  // At most `limit` rows; all that are left if it is negative.
  nb::list Fetch(int64_t limit) {
    const Held held(*shared_);
    nb::list rows;
    for (int64_t count = 0; limit < 0 || count < limit; ++count) {
      nb::object row = Next();
      if (row.is_none()) break;
      rows.append(std::move(row));
    }
    return rows;
  }

  void Reset() {
    const Held held(*shared_);
    if (shared_->connection != nullptr) statement_.Reset();
  }

  nb::list Columns() {
    const Held held(*shared_);
    Open(*shared_);
    nb::list names;
    for (int column = 0; column < statement_.column_count(); ++column) {
      const std::string_view name = statement_.column_name(column);
      names.append(nb::str(name.data(), name.size()));
    }
    return names;
  }

  bool read_only() {
    const Held held(*shared_);
    Open(*shared_);
    return statement_.read_only();
  }

  void Finalize() { statement_.Finalize(); }  // REQUIRES: the connection is held.

 private:
  nb::object Next() {
    Open(*shared_);
    Result<bool> stepped = false;
    {
      GilRelease released;
      stepped = statement_.Step();
    }
    if (!stepped.ok()) FailAsLast(*shared_);
    if (!*stepped) return nb::none();
    const int width = statement_.column_count();
    PyObject* tuple = PyTuple_New(width);
    if (tuple == nullptr) RaisePythonError();
    nb::object row = nb::steal(tuple);
    for (int column = 0; column < width; ++column) {
      nb::object value = ToPython(statement_.type(column), statement_, column);
      PyTuple_SetItem(tuple, column, value.release().ptr());
    }
    return row;
  }

  std::shared_ptr<Shared> shared_;
  SqliteStatement statement_;
};

// A Python function as SQLite calls it. The reference is dropped under the GIL.
SqliteFunction WrapFunction(nb::object function) {
  auto held =
      std::shared_ptr<nb::object>(new nb::object(std::move(function)), [](nb::object* kept) {
        if (Py_IsInitialized() == 0) return;  // The interpreter is gone, and the object with it.
        GilAcquire acquired;
        delete kept;
      });
  return [held = std::move(held)](SqliteFunctionCall& call) {
    GilAcquire acquired;
    try {
      nb::list arguments;
      for (int index = 0; index < call.argument_count(); ++index) {
        arguments.append(ToPython(call.type(index), call, index));
      }
      const nb::object answer = (*held)(*arguments);
      if (answer.is_none()) {
        call.ReturnNull();
      } else if (PyLong_Check(answer.ptr())) {
        call.Return(IntegerOf(answer));
      } else if (PyFloat_Check(answer.ptr())) {
        call.Return(PyFloat_AsDouble(answer.ptr()));
      } else if (const std::optional<std::string_view> text = TextOf(answer)) {
        call.ReturnText(*text);
      } else if (const BytesView view(answer); view.valid()) {
        call.ReturnBlob(view.bytes());
      } else {
        call.ReturnError("user-defined function returned an unsupported type");
      }
    } catch (const nb::python_error&) {  // As the interpreter's sqlite3: the statement fails.
      call.ReturnError("user-defined function raised exception");
    }
  };
}

class NativeConnection {
 public:
  NativeConnection(const std::string& target, int64_t busy_timeout_ms)
      : shared_(std::make_shared<Shared>()) {
    SqliteOpenOptions options;
    options.target = target;
    options.serialized = true;
    options.hardened = false;  // As the interpreter's sqlite3 is: the two are interchangeable.
    options.busy_timeout_ms = busy_timeout_ms;
    auto opened = SqliteConnection::Open(options);
    if (!opened.ok()) Fail(kSqliteCantOpen, opened.status().message());
    shared_->connection = std::move(opened).value();
  }
  ~NativeConnection() { Close(); }
  NativeConnection(const NativeConnection&) = delete;
  NativeConnection& operator=(const NativeConnection&) = delete;

  std::unique_ptr<NativeStatement> Prepare(const std::string& sql) {
    const Held held(*shared_);
    SqliteConnection& connection = Open(*shared_);
    std::string_view tail;
    auto statement = connection.Prepare(sql, &tail);
    if (!statement.ok()) FailAsLast(*shared_);
    while (!tail.empty()) {
      std::string_view rest;
      auto second = connection.Prepare(tail, &rest);
      if (!second.ok() || second.value().valid()) {
        Fail(kSqliteMisuse, "You can only execute one statement at a time.");
      }
      tail = rest;
    }
    if (!statement.value().valid()) return nullptr;
    return std::make_unique<NativeStatement>(shared_, std::move(statement).value());
  }

  void ExecuteScript(const std::string& sql) {
    const Held held(*shared_);
    SqliteConnection& connection = Open(*shared_);
    Status status;
    {
      GilRelease released;
      status = connection.Execute(sql);
    }
    if (!status.ok()) FailAsLast(*shared_);
  }

  void CreateFunction(const std::string& name, int argument_count, nb::object function,
                      bool deterministic) {
    const Held held(*shared_);
    SqliteFunction wrapped;
    if (!function.is_none()) wrapped = WrapFunction(std::move(function));
    const Status status =
        Open(*shared_).CreateFunction(name, argument_count, deterministic, std::move(wrapped));
    if (!status.ok()) FailAsLast(*shared_);
  }

  void Close() {
    const Held held(*shared_);
    for (NativeStatement* statement : shared_->statements) statement->Finalize();
    shared_->connection.reset();
  }

  // Waits for nobody: SQLite allows this one from any thread while the connection is open.
  void Interrupt() { Open(*shared_).Interrupt(); }

  int64_t changes() {
    const Held held(*shared_);
    return Open(*shared_).changes();
  }
  int64_t total_changes() {
    const Held held(*shared_);
    return Open(*shared_).total_changes();
  }
  int64_t last_insert_rowid() {
    const Held held(*shared_);
    return Open(*shared_).last_insert_rowid();
  }
  bool in_transaction() {
    const Held held(*shared_);
    return Open(*shared_).in_transaction();
  }

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace

void BindSqliteDbapi(nb::module_& module) {
  module.attr("SqliteFailure") =
      nb::steal(PyErr_NewException("barcache._core.SqliteFailure", PyExc_Exception, nullptr));
  // A function, as a constant would carry this machine's value into the golden stub.
  module.def("sqlite_version", [] { return std::string(SqliteVersion()); });

  nb::class_<NativeStatement>(module, "SqliteStatement")
      .def("bind", &NativeStatement::Bind, nb::arg("values"))
      .def("step", &NativeStatement::Step,
           nb::sig("def step(self) -> tuple[typing.Any, ...] | None"))
      .def("fetch", &NativeStatement::Fetch, nb::arg("limit"),
           nb::sig("def fetch(self, limit: int) -> list[tuple[typing.Any, ...]]"))
      .def("reset", &NativeStatement::Reset)
      .def("columns", &NativeStatement::Columns, nb::sig("def columns(self) -> list[str]"))
      .def_prop_ro("read_only", &NativeStatement::read_only);

  nb::class_<NativeConnection>(module, "SqliteConnection", nb::is_weak_referenceable())
      .def(nb::init<const std::string&, int64_t>(), nb::arg("target"), nb::arg("busy_timeout_ms"))
      .def("prepare", &NativeConnection::Prepare, nb::arg("sql"),
           nb::sig("def prepare(self, sql: str) -> SqliteStatement | None"))
      .def("execute_script", &NativeConnection::ExecuteScript, nb::arg("sql"))
      .def("create_function", &NativeConnection::CreateFunction, nb::arg("name"),
           nb::arg("argument_count"), nb::arg("function").none(), nb::arg("deterministic"))
      .def("close", &NativeConnection::Close)
      .def("interrupt", &NativeConnection::Interrupt)
      .def_prop_ro("changes", &NativeConnection::changes)
      .def_prop_ro("total_changes", &NativeConnection::total_changes)
      .def_prop_ro("last_insert_rowid", &NativeConnection::last_insert_rowid)
      .def_prop_ro("in_transaction", &NativeConnection::in_transaction);
}

}  // namespace barcache::python
