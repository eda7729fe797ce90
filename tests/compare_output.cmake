# cmake -DPROGRAM=... -DARGUMENTS=methods,--markdown -DEXPECTED=file -P compare_output.cmake
# A page of the documentation that the program writes must be the one that is checked in.
string(REPLACE "," ";" ARGUMENTS "${ARGUMENTS}")
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} OUTPUT_VARIABLE written RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ${ARGUMENTS} ended with ${status}")
endif()
file(READ ${EXPECTED} expected)
if(NOT written STREQUAL expected)
  string(REPLACE ";" " " command "${ARGUMENTS}")
  message(FATAL_ERROR "${EXPECTED} is out of date: write it again with 'pellucid ${command} > ${EXPECTED}'")
endif()
