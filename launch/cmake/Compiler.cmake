# Language, warnings, sanitizers, ccache and linker, for all targets.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
    message(FATAL_ERROR "g++ ${CMAKE_CXX_COMPILER_VERSION} is too old, 12 or newer is needed; install g++-12 (./launch/setup does) or name one by CXX.")
endif()
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

# No -march=native: binaries travel. No -ffast-math and no contraction into fused multiply-adds: bits are promised.
set(CMAKE_CXX_FLAGS_RELEASE "-O3")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)

# By which ranks know that they run the same build; not every linker makes one unasked.
add_link_options($<$<LINK_LANGUAGE:C,CXX,CUDA>:-Wl,--build-id=sha1>)

# Warnings are errors, on our own targets: smp_library and smp_program link this. -Wno-stringop-overflow: g++ 12 sees overflows
# in fmt's inlined buffers that are not there.
add_library(smp_warnings INTERFACE)
target_compile_options(
    smp_warnings
    INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual;-Wcast-qual;-Wformat=2;-Wextra-semi;-Wvla;$<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>>"
)

# Sanitizers see our own code; LibTorch and MPI are not instrumented (tests/sanitizers says what follows from that).
if(SMP_SANITIZE STREQUAL "address")
    set(smp_sanitize -fsanitize=address,undefined -fno-sanitize-recover=undefined)
elseif(SMP_SANITIZE STREQUAL "thread")
    set(smp_sanitize -fsanitize=thread)
elseif(SMP_SANITIZE)
    message(FATAL_ERROR "SMP_SANITIZE is \"${SMP_SANITIZE}\"; it can be empty, address (with undefined) or thread.")
endif()
if(SMP_SANITIZE)
    # Instrumented code makes g++ 12 warn of uninitialised values that are not.
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${smp_sanitize};-fno-omit-frame-pointer;-g1;-O1>")
    target_compile_options(smp_warnings INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
    add_link_options("$<$<LINK_LANGUAGE:CXX,CUDA>:${smp_sanitize}>")
endif()

if(SMP_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "SMP_FUZZ needs clang with libFuzzer, and the compiler is ${CMAKE_CXX_COMPILER_ID}: name it by CXX=clang++-14 and CC=clang-14.")
    endif()
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# ccache takes precompiled headers only when told that their time stamps and macros may be trusted. Paths below the base folder are
# made relative, so that another checkout or build folder finds the same entries.
find_program(SMP_CCACHE ccache)
mark_as_advanced(SMP_CCACHE)
if(SMP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    cmake_path(IS_PREFIX PROJECT_SOURCE_DIR "${PROJECT_BINARY_DIR}" NORMALIZE smp_build_is_inside)
    if(smp_build_is_inside)
        set(smp_ccache_base "${PROJECT_SOURCE_DIR}")
    else()
        set(smp_ccache_base "${PROJECT_BINARY_DIR}")
    endif()
    set(CMAKE_CXX_COMPILER_LAUNCHER
        "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${smp_ccache_base}"
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime "${SMP_CCACHE}"
    )
    set(CMAKE_CUDA_COMPILER_LAUNCHER "${SMP_CCACHE}")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()

find_program(SMP_MOLD mold)
mark_as_advanced(SMP_MOLD)
if(SMP_MOLD AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
    add_link_options($<$<LINK_LANGUAGE:C,CXX>:-fuse-ld=mold>)
endif()
