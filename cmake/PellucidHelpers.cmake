include_guard()

# pellucid_room(NAME SOURCES a.cpp ... [USES room ...] [LIBRARIES target ...])
# One static library per room of the house; USES are the rooms it may include, see docs/design.md.
function(pellucid_room NAME)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
  set(target pellucid_${NAME})
  add_library(${target} STATIC ${ROOM_SOURCES})
  add_library(Pellucid::${NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${NAME})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  foreach(used ${ROOM_USES})
    target_link_libraries(${target} PUBLIC pellucid_${used})
  endforeach()
  # Public headers show LibTorch's tensors; an installed Pellucid finds LibTorch again, see PellucidConfig.cmake.in.
  target_link_libraries(${target}
    PUBLIC $<BUILD_INTERFACE:pellucid_torch> $<INSTALL_INTERFACE:Pellucid::torch>
    PRIVATE ${ROOM_LIBRARIES})
  pellucid_warnings(${target})
  pellucid_pch(${target})
  set_property(GLOBAL APPEND PROPERTY PELLUCID_ROOMS ${target})
endfunction()

function(pellucid_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-unknown-pragmas
    $<$<BOOL:${PELLUCID_WERROR}>:-Werror>)
endfunction()

# LibTorch's headers cost seconds a file; they are compiled once and shared.
function(pellucid_pch target)
  if(NOT TARGET pellucid_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/pellucid_pch.cpp "")
    add_library(pellucid_pch OBJECT ${CMAKE_BINARY_DIR}/pellucid_pch.cpp)
    target_link_libraries(pellucid_pch PRIVATE pellucid_torch)
    target_precompile_headers(pellucid_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)
    pellucid_warnings(pellucid_pch)
  endif()
  # Programs would be compiled as -fPIE, for which headers compiled as -fPIC cannot be used.
  target_compile_options(${target} PRIVATE -fPIC)
  target_precompile_headers(${target} REUSE_FROM pellucid_pch)
endfunction()
