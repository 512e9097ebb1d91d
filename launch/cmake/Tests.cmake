# A room's test program and its entries in ctest.

# smp_test_binary(NAME [TORCH] [OWN_MAIN] SOURCES a.cpp … [LINKS targets…])
#   A gtest program in build/bin, one a room. Its main is tests/main.cpp; OWN_MAIN: its own, where MPI has to start and end around it.
#   Either begins with tests/seed.h. Sees SMP_SOURCE_DIR and SMP_BINARY_DIR as strings.
function(smp_test_binary name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;OWN_MAIN" "" "SOURCES;LINKS")
    set(torch)
    if(arg_TORCH)
        set(torch TORCH)
    endif()
    set(start "${PROJECT_SOURCE_DIR}/tests/seed.cpp")
    if(NOT arg_OWN_MAIN)
        list(APPEND start "${PROJECT_SOURCE_DIR}/tests/main.cpp")
    endif()
    smp_program(${name} ${torch} SOURCES ${arg_SOURCES} ${start} LINKS ${arg_LINKS} GTest::gmock rapidcheck rapidcheck_gtest)
    target_compile_definitions(${name} PRIVATE SMP_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SMP_BINARY_DIR="${PROJECT_BINARY_DIR}")
endfunction()

# smp_add_test(NAME BINARY target [FILTER pattern] LABELS unit|ranks|mpi|cuda|slow… [MPI n] [STANDIN] [TIMEOUT s] [ARGS …])
#   One entry in ctest: the tests of a binary that match a gtest filter (all without one). MPI n: under mpirun with n processes, one
#   such entry at a time. A filter that matches nothing fails, and so does a test that no filter of its binary matches
#   (tests/every_test_runs.cmake). One operator thread for each rank, since tests share few cores.
#   STANDIN: over the stand-in for CUDA and NCCL (tests/standin); not there in builds without CUDA.
#   TIMEOUT only guards against what hangs: at least five times what the entry takes on two idle cores, since machines are shared.
function(smp_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "STANDIN" "BINARY;FILTER;MPI;TIMEOUT" "LABELS;ARGS")
    if(NOT arg_BINARY OR NOT arg_LABELS OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "smp_add_test(${name}): needs BINARY and LABELS; not understood: \"${arg_UNPARSED_ARGUMENTS}\".")
    endif()
    set(filter "*")
    if(arg_FILTER)
        set(filter "${arg_FILTER}")
    endif()
    set_property(GLOBAL APPEND PROPERTY SMP_TEST_BINARIES ${arg_BINARY})
    set_property(GLOBAL APPEND PROPERTY SMP_TEST_FILTERS_${arg_BINARY} "${filter}")

    set(command $<TARGET_FILE:${arg_BINARY}> "--gtest_filter=${filter}" ${arg_ARGS})
    if(arg_MPI)
        if(NOT SMP_MPI_ENABLED)
            return()
        endif()
        list(PREPEND command "${MPIEXEC_EXECUTABLE}" --oversubscribe --bind-to none -np ${arg_MPI})
    endif()
    if(arg_STANDIN AND NOT SMP_CUDA_ENABLED)
        return()
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    # mpirun wants to be told twice that root is meant.
    set(environment OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
    if(arg_STANDIN)
        list(APPEND environment "LD_PRELOAD=$<TARGET_FILE:smp_cuda_standin>" SMP_STANDIN_DELAY_US=100)
        add_dependencies(${arg_BINARY} smp_cuda_standin)
    endif()
    if(SMP_SANITIZE)
        math(EXPR arg_TIMEOUT "10 * ${arg_TIMEOUT}")
        set(leaks 1)
        if(arg_MPI OR arg_STANDIN) # MPI leaks by the hundred; the stand-in's threads and handles end with the process
            set(leaks 0)
        endif()
        # What is preloaded comes ahead of the sanitizer.
        list(APPEND environment "ASAN_OPTIONS=detect_leaks=${leaks}:verify_asan_link_order=0" "UBSAN_OPTIONS=print_stacktrace=1"
             "TSAN_OPTIONS=halt_on_error=1:suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/thread.supp"
        )
    endif()
    add_test(NAME ${name} COMMAND ${command} WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    set_tests_properties(
        ${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} FAIL_REGULAR_EXPRESSION "Running 0 tests"
                           ENVIRONMENT "${environment}"
    )
    if(arg_MPI)
        set_tests_properties(${name} PROPERTIES RESOURCE_LOCK mpi)
    endif()
endfunction()
