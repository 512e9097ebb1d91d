# LibTorch as own imported targets: smp::torch (CPU) and smp::torch_cuda. find_package(Torch) would need nvcc and Python.

include(ProvideLibTorch)
smp_provide_libtorch(smp_libtorch_root)

set(smp_torch "${smp_libtorch_root}/torch")
file(GLOB smp_nvidia_lib_folders "${smp_libtorch_root}/nvidia/*/lib")

function(smp_import name path)
    file(GLOB found "${path}")
    list(LENGTH found count)
    if(NOT count EQUAL 1)
        message(FATAL_ERROR "LibTorch in ${smp_libtorch_root} is incomplete: ${path} is missing; install torch==${SMP_LIBTORCH_VERSION} anew.")
    endif()
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${found}")
endfunction()

# The wheel's one OpenMP, shared by torch and by our own parallel loops (at::parallel_for is a template in a header).
smp_import(smp::gomp "${smp_torch}/lib/libgomp*.so*")
smp_import(smp::c10 "${smp_torch}/lib/libc10.so")
smp_import(smp::torch_cpu "${smp_torch}/lib/libtorch_cpu.so")
smp_import(smp::cudart "${smp_libtorch_root}/nvidia/cu13/lib/libcudart.so.13")
smp_import(smp::cupti "${smp_libtorch_root}/nvidia/cu13/lib/libcupti.so.13")

# libtorch_cpu.so asks for cudart and cupti by name only: naming them in the program lets its own run path find them.
add_library(smp_torch INTERFACE)
add_library(smp::torch ALIAS smp_torch)
target_include_directories(smp_torch SYSTEM INTERFACE "${smp_torch}/include" "${smp_torch}/include/torch/csrc/api/include")
target_compile_options(smp_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
target_link_options(smp_torch INTERFACE "LINKER:--no-as-needed")
foreach(folder IN LISTS smp_nvidia_lib_folders)
    target_link_options(smp_torch INTERFACE "LINKER:-rpath-link,${folder}")
endforeach()
target_link_libraries(smp_torch INTERFACE smp::torch_cpu smp::c10 smp::gomp smp::cudart smp::cupti)

# The interface of the wheel's C++ library must be this compiler's: std::string in a function's name tells.
file(STRINGS "${smp_torch}/lib/libc10.so" smp_cxx11_names REGEX "NSt7__cxx11" LIMIT_COUNT 1)
if(NOT smp_cxx11_names)
    message(FATAL_ERROR "LibTorch in ${smp_libtorch_root} was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0); use the wheel torch==${SMP_LIBTORCH_VERSION}.")
endif()
target_compile_definitions(smp_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)

if(SMP_CUDA_ENABLED)
    smp_import(smp::c10_cuda "${smp_torch}/lib/libc10_cuda.so")
    smp_import(smp::torch_cuda_library "${smp_torch}/lib/libtorch_cuda.so")
    smp_import(smp::nccl_library "${smp_libtorch_root}/nvidia/nccl/lib/libnccl.so.2")

    # Headers of the runtime, for files that see no LibTorch (.cu).
    add_library(smp_cuda_runtime INTERFACE)
    add_library(smp::cuda_runtime ALIAS smp_cuda_runtime)
    target_include_directories(smp_cuda_runtime SYSTEM INTERFACE "${smp_libtorch_root}/nvidia/cu13/include")
    target_link_libraries(smp_cuda_runtime INTERFACE smp::cudart)

    # One NCCL in the process: torch's, header and library.
    add_library(smp_nccl INTERFACE)
    add_library(smp::nccl ALIAS smp_nccl)
    target_include_directories(smp_nccl SYSTEM INTERFACE "${smp_libtorch_root}/nvidia/nccl/include")
    target_link_libraries(smp_nccl INTERFACE smp::nccl_library smp::cuda_runtime)

    # Nothing refers to torch_cuda's kernels by name, they register themselves: it must stay although it seems unneeded.
    add_library(smp_torch_cuda INTERFACE)
    add_library(smp::torch_cuda ALIAS smp_torch_cuda)
    target_link_libraries(smp_torch_cuda INTERFACE smp::torch smp::torch_cuda_library smp::c10_cuda smp::cuda_runtime)
endif()
