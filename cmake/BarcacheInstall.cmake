# What `cmake --install build --component development` lays down for find_package(barcache): the
# static library, the public headers, and a package file that finds the libraries beneath it.

if(NOT TARGET barcache)
  return()
endif()
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/barcache)
install(TARGETS barcache EXPORT barcacheTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY include/barcache
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN "*.h")
install(EXPORT barcacheTargets NAMESPACE barcache::
  DESTINATION ${package_dir} COMPONENT development)

configure_package_config_file(
  cmake/barcacheConfig.cmake.in ${PROJECT_BINARY_DIR}/barcacheConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/barcacheConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/barcacheConfig.cmake ${PROJECT_BINARY_DIR}/barcacheConfigVersion.cmake
  cmake/BarcacheArrow.cmake
  DESTINATION ${package_dir} COMPONENT development)
