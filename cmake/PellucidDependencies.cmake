# What each half of the library needs. The core needs LibTorch, protobuf and the ONNX message format alone.
find_package(Threads REQUIRED)
find_package(Torch REQUIRED)
include(PellucidBlas)

# LibTorch from 2.x on asks for C++17 or newer by itself; 1.13 is content with C++17.
set(CMAKE_CXX_STANDARD 17)
if(Torch_VERSION VERSION_GREATER_EQUAL 2.11)
  set(CMAKE_CXX_STANDARD 20)
endif()
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# The package's own imported target carries include folders and libraries; its global flags are not needed.
add_library(pellucid_torch INTERFACE)
target_include_directories(pellucid_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(pellucid_torch INTERFACE ${TORCH_LIBRARIES})
separate_arguments(PELLUCID_TORCH_FLAGS UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(pellucid_torch INTERFACE ${PELLUCID_TORCH_FLAGS})

find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h REQUIRED)
find_library(ONNX_PROTO_LIBRARY onnx_proto REQUIRED)
find_library(PROTOBUF_LIBRARY protobuf REQUIRED)
add_library(pellucid_onnx_proto INTERFACE)
target_include_directories(pellucid_onnx_proto SYSTEM INTERFACE ${ONNX_INCLUDE_DIR})
target_compile_definitions(pellucid_onnx_proto INTERFACE ONNX_ML=1 ONNX_NAMESPACE=onnx)
target_link_libraries(pellucid_onnx_proto INTERFACE ${ONNX_PROTO_LIBRARY} ${PROTOBUF_LIBRARY})

if(PELLUCID_APPS)
  find_package(OpenCV REQUIRED COMPONENTS core imgproc imgcodecs videoio)
  find_package(CLI11 REQUIRED)
  find_package(nlohmann_json REQUIRED)
endif()
if(PELLUCID_TESTS)
  find_package(GTest REQUIRED)
endif()
