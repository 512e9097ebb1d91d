# check_includes.cmake must refuse each of these; were it to accept one, the rule would be a decoration.
#   cmake -DSCRATCH=DIR -P refuses_violations.cmake
cmake_minimum_required(VERSION 3.25)

# expect(WORDS PATH CONTENT [PATH CONTENT]…): these files, and a message that matches WORDS. The first file is free of LibTorch
# where its name says so.
function(expect words)
    file(REMOVE_RECURSE "${SCRATCH}")
    set(free "")
    math(EXPR last "${ARGC} - 1")
    foreach(i RANGE 1 ${last} 2)
        math(EXPR j "${i} + 1")
        file(WRITE "${SCRATCH}/${ARGV${i}}" "${ARGV${j}}\n")
        if(ARGV${i} MATCHES "spec.*cpp$")
            list(APPEND free "${SCRATCH}/${ARGV${i}}")
        endif()
    endforeach()
    execute_process(
        COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${SCRATCH}" "-DLIBTORCH_FREE=${free}" -P "${CMAKE_CURRENT_LIST_DIR}/check_includes.cmake"
        RESULT_VARIABLE failed ERROR_VARIABLE said OUTPUT_VARIABLE out
    )
    string(REGEX REPLACE "[ \n]+" " " said "${said}")
    if(words STREQUAL "fine" AND failed)
        message(SEND_ERROR "refused what is right: ${ARGN}: ${said}")
    elseif(NOT words STREQUAL "fine" AND (NOT failed OR NOT said MATCHES "${words}"))
        message(SEND_ERROR "accepted, or with other words than \"${words}\": ${ARGN}: ${said}")
    endif()
endfunction()

expect("fine" models/a.cpp "#include \"partition/b.h\"\n#include <ATen/ATen.h>" partition/b.h "#include <vector>")
expect("partition/a.h includes \"comms/b.h\"" partition/a.h "#include \"comms/b.h\"")
expect("comms/a.h includes \"partition/b.h\"" comms/a.h "  #  include \"partition/b.h\"  // why")
expect("models/a.h includes \"runtime/b.h\"" models/a.h "#include \"runtime/b.h\"")
expect("runtime/x/a.cpp includes \"launch/b.h\"" runtime/x/a.cpp "#include \"launch/b.h\"")
expect("written from the top level" models/a.cpp "#include \"b.h\"")
expect("written from the top level" models/a.cpp "#include \"models/../launch/b.h\"")
expect("written in quotes" models/a.cpp "#include <launch/b.h>")
expect("partition/a.cpp includes <ATen/ATen.h>" partition/a.cpp "#include <ATen/ATen.h>")
expect("partition/a.cpp includes <nlohmann/json.hpp>" partition/a.cpp "#include <nlohmann/json.hpp>")
expect("runtime/a.cpp includes <mpi.h>" runtime/a.cpp "#include <mpi.h>")
expect("models/spec.cpp sees <c10/core/Device.h> through models/b.h" models/spec.cpp "#include \"models/b.h\"" models/b.h
       "#include \"comms/c.h\"\n#include <c10/core/Device.h>")
expect("runtime/spec.cpp sees <nccl.h> through comms/c.h" runtime/spec.cpp "#include \"models/b.h\"" models/b.h "#include \"comms/c.h\""
       comms/c.h "#include <nccl.h>")
expect("models/a.cu sees <ATen/ATen.h> through models/b.h" models/a.cu "#include \"models/b.h\"" models/b.h "#include <ATen/ATen.h>")
expect("no source files" README "nothing")
file(REMOVE_RECURSE "${SCRATCH}")
