# `cmake --install`: headers, room libraries, program, models and the package files that find_package(Pellucid) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The command line is the program's alone; the rest is for everyone.
get_property(PELLUCID_ROOMS GLOBAL PROPERTY PELLUCID_ROOMS)
list(REMOVE_ITEM PELLUCID_ROOMS pellucid_cli)
install(TARGETS ${PELLUCID_ROOMS} EXPORT PellucidTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# What a build without apps has no code for.
set(PELLUCID_UNINSTALLED_HEADERS)
if(NOT PELLUCID_APPS)
  foreach(header image flowers report tasks)
    list(APPEND PELLUCID_UNINSTALLED_HEADERS PATTERN ${header}.h EXCLUDE)
  endforeach()
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pellucid DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN *.h ${PELLUCID_UNINSTALLED_HEADERS})

if(TARGET pellucid_program)
  install(TARGETS pellucid_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # The program writes its own completion script.
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/pellucid.bash
    COMMAND pellucid_program completion bash > ${PROJECT_BINARY_DIR}/pellucid.bash DEPENDS pellucid_program)
  add_custom_target(pellucid_completion ALL DEPENDS ${PROJECT_BINARY_DIR}/pellucid.bash)
  install(FILES ${PROJECT_BINARY_DIR}/pellucid.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME pellucid)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/pellucid/models
  FILES_MATCHING PATTERN *.onnx PATTERN *.json PATTERN *.npy PATTERN *.txt)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(PELLUCID_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Pellucid)
list(TRANSFORM PELLUCID_ROOMS REPLACE "^pellucid_" "Pellucid::" OUTPUT_VARIABLE PELLUCID_ROOM_TARGETS)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/PellucidConfig.cmake.in
  ${PROJECT_BINARY_DIR}/PellucidConfig.cmake INSTALL_DESTINATION ${PELLUCID_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/PellucidConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/PellucidConfig.cmake ${PROJECT_BINARY_DIR}/PellucidConfigVersion.cmake
  DESTINATION ${PELLUCID_PACKAGE_DIR})
install(EXPORT PellucidTargets NAMESPACE Pellucid:: DESTINATION ${PELLUCID_PACKAGE_DIR})
