// Keeps Arrow's fork handlers from being registered, in the build with ThreadSanitizer alone. At a
// fork they take every lock of an allocator that is not used there (ARROW_DEFAULT_MEMORY_POOL=
// system); with those of a cache they are more than the 64 that the sanitizer's search for lock
// orders can count, and it ends the program. Arrow's threads, the others' concern, are never used.

#include <dlfcn.h>

#include <cstring>

extern "C" __attribute__((visibility("default"))) int __register_atfork(  // NOLINT(*-naming)
    void (*prepare)(), void (*parent)(), void (*child)(), void* library) {
  Dl_info origin{};
  if (prepare != nullptr && dladdr(reinterpret_cast<void*>(prepare), &origin) != 0 &&
      std::strstr(origin.dli_fname, "libarrow.so") != nullptr) {
    return 0;
  }
  using Register = int (*)(void (*)(), void (*)(), void (*)(), void*);
  const auto next = reinterpret_cast<Register>(dlsym(RTLD_NEXT, "__register_atfork"));
  return next(prepare, parent, child, library);
}
