# A room's library and a program.

# Sources that must see neither LibTorch nor MPI nor CUDA; tests/includes_test reads this.
set_property(GLOBAL PROPERTY SMP_LIBTORCH_FREE_SOURCES "")

# ATen, parsed once for all targets that see LibTorch. Warning options decide whether g++ takes it, hence smp_warnings.
add_library(smp_torch_headers STATIC "${CMAKE_CURRENT_LIST_DIR}/torch_headers.cpp")
target_link_libraries(smp_torch_headers PRIVATE smp::torch smp_warnings)
target_precompile_headers(smp_torch_headers PRIVATE <ATen/ATen.h> <algorithm> <cstdint> <memory> <span> <string> <vector>)

function(smp_use_torch target)
    target_link_libraries(${target} PUBLIC smp::torch)
    if(SMP_CUDA_ENABLED)
        target_link_libraries(${target} PUBLIC smp::torch_cuda)
    endif()
    target_precompile_headers(${target} REUSE_FROM smp_torch_headers)
endfunction()

function(smp_note_libtorch_free)
    foreach(source IN LISTS ARGN)
        cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
        set_property(GLOBAL APPEND PROPERTY SMP_LIBTORCH_FREE_SOURCES "${source}")
    endforeach()
endfunction()

# smp_library(NAME [TORCH] SOURCES a.cpp … [PUBLIC targets…] [PRIVATE targets…])
#   A static library; header-only while no source ends in .cpp or .cu. TORCH: sees LibTorch, through the precompiled header.
#   PUBLIC is what its headers need, PRIVATE what only its sources need.
function(smp_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;PUBLIC;PRIVATE")
    if(NOT arg_TORCH)
        smp_note_libtorch_free(${arg_SOURCES})
    endif()
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
        smp_use_torch(${name})
    endif()
endfunction()

# smp_program(NAME [TORCH] SOURCES a.cpp … [LINKS targets…])
#   An executable in build/bin.
function(smp_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;LINKS")
    add_executable(${name} ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PUBLIC ${arg_LINKS} smp_warnings)
    if(arg_TORCH)
        smp_use_torch(${name})
    else()
        smp_note_libtorch_free(${arg_SOURCES})
    endif()
endfunction()
