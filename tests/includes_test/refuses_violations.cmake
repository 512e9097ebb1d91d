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

expect("fine" models/a.cpp "#include \"partition/job/b.h\"\n#include <ATen/ATen.h>" partition/job/b.h "#include <vector>")
expect("partition/job/a.h includes \"comms/b.h\"" partition/job/a.h "#include \"comms/b.h\"")
expect("comms/a.h includes \"partition/job/b.h\"" comms/a.h "  #  include \"partition/job/b.h\"  // why")
expect("models/a.h includes \"runtime/b.h\"" models/a.h "#include \"runtime/b.h\"")
expect("runtime/update/a.cpp includes \"launch/b.h\"" runtime/update/a.cpp "#include \"launch/b.h\"")
expect("written from the top level" models/a.cpp "#include \"b.h\"")
expect("written from the top level" models/a.cpp "#include \"models/../launch/b.h\"")
expect("written in quotes" models/a.cpp "#include <launch/b.h>")
expect("partition/job/a.cpp includes <ATen/ATen.h>" partition/job/a.cpp "#include <ATen/ATen.h>")
expect("partition/job/a.cpp includes <nlohmann/json.hpp>" partition/job/a.cpp "#include <nlohmann/json.hpp>")
expect("runtime/job/a.cpp includes <mpi.h>" runtime/job/a.cpp "#include <mpi.h>")
expect("models/spec.cpp sees <c10/core/Device.h> through models/b.h" models/spec.cpp "#include \"models/b.h\"" models/b.h
       "#include \"comms/c.h\"\n#include <c10/core/Device.h>")
expect("runtime/job/spec.cpp sees <nccl.h> through comms/c.h" runtime/job/spec.cpp "#include \"models/b.h\"" models/b.h "#include \"comms/c.h\""
       comms/c.h "#include <nccl.h>")
expect("models/a.cu sees <ATen/ATen.h> through models/b.h" models/a.cu "#include \"models/b.h\"" models/b.h "#include <ATen/ATen.h>")
expect("partition/stages/a.h includes \"partition/plan/b.h\": in partition/, plan stands above stages" partition/stages/a.h
       "#include \"partition/plan/b.h\"")
expect("runtime/job/a.h includes \"runtime/trainer.h\"" runtime/job/a.h "#include \"runtime/trainer.h\"")
expect("fine" partition/plan/a.h "#include \"partition/stages/b.h\"" models/gpt2/a.h "#include \"models/b.h\"")
expect("partition/a.h lies in no wing of partition/" partition/a.h "#include <vector>")
expect("no source files" README "nothing")
file(REMOVE_RECURSE "${SCRATCH}")
