# barcache_arrow: headers and libraries of Arrow C++ and Parquet.
#
# They come from the pyarrow wheel of the Python that Python_EXECUTABLE names, by full path of
# the versioned libraries (nothing is written into site-packages), or from find_package where a
# system has them and BARCACHE_SYSTEM_ARROW is on. See docs/decisions/0001-arrow-from-pyarrow.md.
#
# Used by the build and, installed, by find_package(barcache), which sets
# BARCACHE_ARROW_SO_VERSION_WANTED to what the library was built with.

if(NOT DEFINED BARCACHE_SYSTEM_ARROW_DEFAULT)
  set(BARCACHE_SYSTEM_ARROW_DEFAULT OFF)
endif()
option(BARCACHE_SYSTEM_ARROW "Use find_package(Arrow) instead of the pyarrow wheel"
  ${BARCACHE_SYSTEM_ARROW_DEFAULT})

# Runs Python_EXECUTABLE to ask its pyarrow for include and library folder, soname and version.
function(barcache_ask_pyarrow result)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
      "import pyarrow as pa; print(';'.join([pa.get_include(), pa.get_library_dirs()[0], pa.cpp_build_info.so_version, pa.__version__]), end='')"
    OUTPUT_VARIABLE facts RESULT_VARIABLE failed ERROR_VARIABLE error)
  if(failed)
    message(FATAL_ERROR "pyarrow was not found by ${Python_EXECUTABLE}: run 'make setup', or "
      "pass -DPython_EXECUTABLE=<python with pyarrow>, or -DBARCACHE_SYSTEM_ARROW=ON.\n${error}")
  endif()
  set(${result} "${facts}" PARENT_SCOPE)
endfunction()

add_library(barcache_arrow INTERFACE)
if(BARCACHE_SYSTEM_ARROW)
  find_package(Arrow REQUIRED)
  find_package(Parquet REQUIRED)
  set(BARCACHE_ARROW_SO_VERSION "${ARROW_SO_VERSION}")
  target_link_libraries(barcache_arrow INTERFACE Parquet::parquet_shared Arrow::arrow_shared)
else()
  if(NOT Python_EXECUTABLE)
    find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
  endif()
  barcache_ask_pyarrow(pyarrow_facts)
  list(GET pyarrow_facts 0 BARCACHE_ARROW_INCLUDE_DIR)
  list(GET pyarrow_facts 1 BARCACHE_ARROW_LIBRARY_DIR)
  list(GET pyarrow_facts 2 BARCACHE_ARROW_SO_VERSION)
  list(GET pyarrow_facts 3 BARCACHE_PYARROW_VERSION)
  if(BARCACHE_PYARROW_VERSION VERSION_LESS 25.0.1 OR BARCACHE_PYARROW_VERSION VERSION_GREATER_EQUAL 27)
    message(FATAL_ERROR "pyarrow ${BARCACHE_PYARROW_VERSION} of ${Python_EXECUTABLE} is not "
      "supported: barcache needs pyarrow>=25.0.1,<27")
  endif()
  foreach(library arrow parquet)
    set(path ${BARCACHE_ARROW_LIBRARY_DIR}/lib${library}.so.${BARCACHE_ARROW_SO_VERSION})
    if(NOT EXISTS ${path})
      message(FATAL_ERROR "pyarrow ${BARCACHE_PYARROW_VERSION} has no ${path}")
    endif()
    target_link_libraries(barcache_arrow INTERFACE ${path})
  endforeach()
  target_include_directories(barcache_arrow SYSTEM INTERFACE ${BARCACHE_ARROW_INCLUDE_DIR})
  message(STATUS "Arrow from pyarrow ${BARCACHE_PYARROW_VERSION}")
endif()

if(BARCACHE_ARROW_SO_VERSION_WANTED
    AND NOT BARCACHE_ARROW_SO_VERSION STREQUAL BARCACHE_ARROW_SO_VERSION_WANTED)
  message(FATAL_ERROR "This barcache was built with Arrow ${BARCACHE_ARROW_SO_VERSION_WANTED}, "
    "but Arrow ${BARCACHE_ARROW_SO_VERSION} was found: pass -DPython_EXECUTABLE=<python whose "
    "pyarrow has that version>, or build barcache anew with this one.")
endif()
