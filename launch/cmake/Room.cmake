# The kinds of targets: a room's library, a program, a test.

# Run paths into the wheel, for building and for running from the build tree.
set(CMAKE_BUILD_RPATH "${smp_torch}/lib" ${smp_nvidia_lib_folders})

# smp_library(NAME SOURCES a.cpp … [PUBLIC targets…] [PRIVATE targets…] [TORCH])
#   A static library, or header-only while no source ends in .cpp or .cu. TORCH: sees LibTorch, through the precompiled header.
#   PUBLIC are what its headers need, PRIVATE what only its sources need.
function(smp_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;PUBLIC;PRIVATE")
    set(compiled ${arg_SOURCES})
    list(FILTER compiled INCLUDE REGEX "\\.(cpp|cu)$")
    if(NOT compiled)
        add_library(${name} INTERFACE ${arg_SOURCES})
        target_include_directories(${name} INTERFACE "${PROJECT_SOURCE_DIR}")
        target_link_libraries(${name} INTERFACE ${arg_PUBLIC} ${arg_PRIVATE} $<$<BOOL:${arg_TORCH}>:smp::torch>)
        return()
    endif()
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} smp_warnings)
    if(arg_TORCH)
        target_link_libraries(${name} PUBLIC smp::torch)
        target_precompile_headers(${name} REUSE_FROM smp_torch_headers)
    endif()
endfunction()

# smp_program(NAME SOURCES a.cpp … LINKS targets… [TORCH])
#   An executable in build/bin.
function(smp_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;LINKS")
    add_executable(${name} ${arg_SOURCES})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE ${arg_LINKS} smp_warnings)
    if(arg_TORCH)
        target_link_libraries(${name} PRIVATE smp::torch)
        target_precompile_headers(${name} REUSE_FROM smp_torch_headers)
        if(SMP_CUDA_ENABLED)
            target_link_libraries(${name} PRIVATE smp::torch_cuda)
        endif()
    endif()
endfunction()

# ATen, parsed once for all targets that see LibTorch.
add_library(smp_torch_headers STATIC "${CMAKE_CURRENT_LIST_DIR}/torch_headers.cpp")
target_link_libraries(smp_torch_headers PRIVATE smp::torch smp_warnings)  # a warning option can void a precompiled header
target_precompile_headers(smp_torch_headers PRIVATE <ATen/ATen.h> <algorithm> <cstdint> <memory> <span> <string> <vector>)

# smp_test_binary(NAME [TORCH] [OWN_MAIN] SOURCES a.cpp … LINKS targets…)
#   A gtest program in build/bin, one a room; its main is gtest's, or with OWN_MAIN its own (MPI has to start and end around it).
function(smp_test_binary name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;OWN_MAIN" "" "SOURCES;LINKS")
    set(torch)
    if(arg_TORCH)
        set(torch TORCH)
    endif()
    smp_program(${name} ${torch} SOURCES ${arg_SOURCES} LINKS ${arg_LINKS} GTest::gmock rapidcheck)
    if(NOT arg_OWN_MAIN)
        target_link_libraries(${name} PRIVATE GTest::gmock_main)
    endif()
    target_compile_definitions(${name} PRIVATE SMP_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SMP_BINARY_DIR="${PROJECT_BINARY_DIR}")
endfunction()

# smp_add_test(NAME BINARY target [FILTER pattern] LABELS unit|ranks|mpi|cuda|slow… [MPI n] [TIMEOUT s] [ARGS …])
#   One ctest entry: the tests of a binary that match a gtest filter; with MPI n, under mpirun with n processes, one such test at
#   a time. A filter that matches nothing fails. One thread for each rank's operators, since tests share few cores.
function(smp_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "BINARY;FILTER;MPI;TIMEOUT" "LABELS;ARGS")
    set(command $<TARGET_FILE:${arg_BINARY}> ${arg_ARGS})
    if(arg_FILTER)
        list(APPEND command "--gtest_filter=${arg_FILTER}")
    endif()
    if(arg_MPI)
        list(PREPEND command "${MPIEXEC_EXECUTABLE}" --oversubscribe --bind-to none -np ${arg_MPI})
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    add_test(NAME ${name} COMMAND ${command} WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    set_tests_properties(
        ${name}
        PROPERTIES LABELS "${arg_LABELS}"
                   TIMEOUT ${arg_TIMEOUT}
                   FAIL_REGULAR_EXPRESSION "Running 0 tests"
                   ENVIRONMENT "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
    )
    if(arg_MPI)
        set_tests_properties(${name} PROPERTIES RESOURCE_LOCK mpi)
    endif()
endfunction()
