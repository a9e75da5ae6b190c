# A room is a folder src/<room>: its *.cc make one object library, its *_test.cc one test program
# linked with the rooms below it. Which room may include which: docs/architecture.md, checked by
# tests/python/test_layers.py.

set(BARCACHE_ROOMS "" CACHE INTERNAL "Rooms declared so far, lowest first")

function(barcache_compile_settings target)
  target_include_directories(${target} PRIVATE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wconversion -Werror $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
    # GCC 12 sees overlaps in std::string that are not there (GCC bug 105329).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  if(BARCACHE_FUZZ)  # Clang says more than the compiler of the build, which decides.
    target_compile_options(${target} PRIVATE -Wno-error -Wno-sign-conversion)
  endif()
  if(BARCACHE_TEST_BUILD)
    target_compile_definitions(${target} PRIVATE BARCACHE_TEST_BUILD)
  endif()
  if(BARCACHE_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${BARCACHE_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${BARCACHE_SANITIZE})
  endif()
endfunction()

function(barcache_add_room room)
  cmake_parse_arguments(ROOM "" "" "LINK" ${ARGN})
  set(folder ${PROJECT_SOURCE_DIR}/src/${room})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  file(GLOB tests CONFIGURE_DEPENDS ${folder}/*_test.cc)
  if(tests)
    list(REMOVE_ITEM sources ${tests})
  endif()
  if(NOT sources)
    return()
  endif()

  add_library(barcache_${room} OBJECT ${sources})
  barcache_compile_settings(barcache_${room})
  target_link_libraries(barcache_${room} PUBLIC Threads::Threads ${ROOM_LINK})

  set(rooms ${BARCACHE_ROOMS} ${room})
  set(BARCACHE_ROOMS "${rooms}" CACHE INTERNAL "")

  if(BARCACHE_BUILD_TESTS AND tests)
    add_executable(${room}_test ${tests})
    barcache_compile_settings(${room}_test)
    foreach(below IN LISTS rooms)
      target_link_libraries(${room}_test PRIVATE barcache_${below})
    endforeach()
    target_link_libraries(${room}_test PRIVATE GTest::gtest_main)
    include(GoogleTest)
    gtest_discover_tests(${room}_test DISCOVERY_TIMEOUT 60 TEST_PREFIX "${room}/"
      PROPERTIES TIMEOUT 120)
  endif()
endfunction()

# The library of all rooms: what C++ users link, and what the Python module is made of.
function(barcache_add_library)
  if(NOT "cache" IN_LIST BARCACHE_ROOMS)
    return()
  endif()
  add_library(barcache STATIC)
  foreach(room IN LISTS BARCACHE_ROOMS)
    target_sources(barcache PRIVATE $<TARGET_OBJECTS:barcache_${room}>)
  endforeach()
  target_link_libraries(barcache PUBLIC
    Threads::Threads OpenSSL::Crypto SQLite::SQLite3
    $<BUILD_INTERFACE:barcache_arrow> $<INSTALL_INTERFACE:barcache::arrow>)
  target_include_directories(barcache PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_compile_features(barcache PUBLIC cxx_std_20)
  add_library(barcache::barcache ALIAS barcache)
endfunction()
