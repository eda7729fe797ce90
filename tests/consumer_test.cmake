# cmake -D BUILD=... -D SOURCE=... -D CONFIG=... -P consumer_test.cmake: installs the build into an empty prefix, builds the
# example program against it as a user would, and runs that.
set(work ${BUILD}/consumer_test)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nended with ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE}/examples/consumer -B ${work}/build -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${work}/prefix
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${work}/build)

file(GLOB models ${SOURCE}/tests/fuzz/corpus/onnx/residual.onnx ${work}/prefix/share/pellucid/models/flower_single_6c.onnx)
foreach(model ${models})
  run(${work}/build/explain_peak ${model})
  if(NOT output MATCHES "peak [0-9.e+-]+ at row [0-9]+, column [0-9]+ of [0-9]+x[0-9]+")
    message(FATAL_ERROR "explain_peak ${model} printed: ${output}")
  endif()
  message(STATUS "${model}: ${output}")
endforeach()
if(EXISTS ${work}/prefix/bin/pellucid)
  run(${work}/prefix/bin/pellucid --version)
endif()
