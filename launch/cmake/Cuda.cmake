# The CUDA compiler, once LibTorch is known; SMP_CUDA_ENABLED says whether the CUDA and NCCL backends are built.
#
# With it a room lists its .cu files and nccl.cpp, without it the no_….cpp twins. The .cu files are C++17 (CMake 3.25 knows no later
# standard for nvcc 13), see no LibTorch header and use the wheel's CUDA runtime, so that there is one in the process.

set(SMP_CUDA_ENABLED OFF)
if(smp_nvcc)
    smp_libtorch_has_cuda("${smp_libtorch_root}" smp_has_cuda)
    if(smp_has_cuda)
        set(SMP_CUDA_ENABLED ON)
    elseif(SMP_CUDA STREQUAL "ON")
        message(FATAL_ERROR "SMP_CUDA=ON, but LibTorch in ${smp_libtorch_root} lacks the CUDA libraries (nvidia/); name one that has them by SMP_LIBTORCH, or use SMP_CUDA=OFF.")
    else()
        message(STATUS "No CUDA: LibTorch in ${smp_libtorch_root} lacks the CUDA libraries")
    endif()
endif()

if(SMP_CUDA_ENABLED)
    set(CMAKE_CUDA_COMPILER "${smp_nvcc}")
    set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
    set(CMAKE_CUDA_RUNTIME_LIBRARY None)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # of 9.0 the PTX too: what comes later runs it
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -compress-mode=size")
    # A kernel that spills registers, or keeps an array in local memory, is an error.
    add_compile_options(
        "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall;-Werror=all-warnings;-Xptxas=--warn-on-spills,--warn-on-local-memory-usage,--warning-as-error>"
    )
endif()
