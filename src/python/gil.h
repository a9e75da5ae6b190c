// The GIL, given up and taken again.
//
// Promises what nanobind's scopes do not: a thread that asks for the GIL while the interpreter is
// going down waits for the end of the process. Python before 3.14 ends such a thread by
// pthread_exit, whose unwinding would meet a destructor or a noexcept function of C++ on its way
// and abort the process.
// Thread safety: each object belongs to the scope, and so to the thread, that made it.
#pragma once

#include <nanobind/nanobind.h>
#include <unistd.h>

namespace barcache::python {

// Runs `take`, which takes the GIL.
template <typename Take>
auto TakeGil(Take take) noexcept {
  try {
    return take();
  } catch (...) {  // The unwinding of pthread_exit: it must not go on, and the thread not return.
    for (;;) (void)::pause();
  }
}

class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;
  ~GilRelease() {
    TakeGil([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

class GilAcquire {
 public:
  GilAcquire() : state_(TakeGil([] { return PyGILState_Ensure(); })) {}
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;
  ~GilAcquire() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

}  // namespace barcache::python
