# Decides whether the CUDA and NCCL backends are built: SMP_CUDA_ENABLED.
#
# With it a room lists its .cu files and nccl.cpp, without it the no_….cpp twins. The .cu files are C++17 (CMake 3.25 knows no
# later standard for nvcc 13), see no LibTorch header and use the wheel's CUDA runtime, so that there is one in the process.

set(SMP_CUDA_ENABLED OFF)
if(NOT SMP_CUDA MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "SMP_CUDA is \"${SMP_CUDA}\"; it can be AUTO, ON or OFF.")
endif()
if(SMP_CUDA STREQUAL "OFF")
    return()
endif()

find_program(SMP_NVCC nvcc HINTS "$ENV{CUDACXX}" "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
if(NOT SMP_NVCC)
    if(SMP_CUDA STREQUAL "ON")
        message(FATAL_ERROR "SMP_CUDA=ON, but no nvcc was found; install the CUDA 13 toolkit, set CUDA_HOME, or use SMP_CUDA=OFF.")
    endif()
    return()
endif()
set(SMP_CUDA_ENABLED ON)
set(CMAKE_CUDA_COMPILER "${SMP_NVCC}")
set(CMAKE_CUDA_RUNTIME_LIBRARY None)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90)
endif()
enable_language(CUDA)
add_compile_options($<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>)
