# LibTorch as own imported targets: smp::torch (CPU), and with CUDA smp::torch_cuda, smp::nccl, smp::cublas and smp::cuda_runtime.
# find_package(Torch) would need nvcc even for C++ alone, and Python.

include(FindNvcc)
include(ProvideLibTorch)
smp_find_nvcc("${SMP_CUDA}" smp_nvcc)
smp_provide_libtorch(smp_libtorch_root "${PROJECT_BINARY_DIR}/libtorch" "${smp_nvcc}")
message(STATUS "LibTorch ${SMP_LIBTORCH_VERSION}: ${smp_libtorch_root}")
include(Cuda)

function(smp_import name path)
    file(GLOB found "${path}")
    list(LENGTH found count)
    if(NOT count EQUAL 1)
        message(FATAL_ERROR "LibTorch in ${smp_libtorch_root} is incomplete, ${path} is missing; install torch==${SMP_LIBTORCH_VERSION} anew.")
    endif()
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${found}")
endfunction()

set(smp_torch_folder "${smp_libtorch_root}/torch")
smp_import(smp::c10 "${smp_torch_folder}/lib/libc10.so")
smp_import(smp::torch_cpu "${smp_torch_folder}/lib/libtorch_cpu.so")
# One OpenMP in the process, the wheel's: at::parallel_for is a template that our own files compile (serially without -fopenmp).
smp_import(smp::openmp "${smp_torch_folder}/lib/libgomp*.so*")

# The wheel must have this compiler's C++ ABI: std::string in a function's name tells.
file(STRINGS "${smp_torch_folder}/lib/libc10.so" smp_cxx11_names REGEX "NSt7__cxx11" LIMIT_COUNT 1)
if(NOT smp_cxx11_names)
    message(FATAL_ERROR "LibTorch in ${smp_libtorch_root} has the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0); use the wheel torch==${SMP_LIBTORCH_VERSION}.")
endif()

add_library(smp_torch INTERFACE)
add_library(smp::torch ALIAS smp_torch)
target_compile_definitions(smp_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_compile_options(smp_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
# The wheel carries headers of another fmt than the one we link: put ours in front of them.
find_path(smp_fmt_headers fmt/format.h REQUIRED NO_CACHE)
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/headers_before_torch")
file(CREATE_LINK "${smp_fmt_headers}/fmt" "${PROJECT_BINARY_DIR}/headers_before_torch/fmt" SYMBOLIC)
target_include_directories(
    smp_torch SYSTEM INTERFACE "${PROJECT_BINARY_DIR}/headers_before_torch" "${smp_torch_folder}/include"
                               "${smp_torch_folder}/include/torch/csrc/api/include"
)
target_link_libraries(smp_torch INTERFACE smp::torch_cpu smp::c10 smp::openmp)
# The wheel's libraries find each other by run paths of their own; a linker that checks them has to be told.
file(GLOB smp_nvidia_folders "${smp_libtorch_root}/nvidia/*/lib")
foreach(folder IN LISTS smp_nvidia_folders)
    target_link_options(smp_torch INTERFACE "LINKER:-rpath-link,${folder}")
endforeach()

if(SMP_CUDA_ENABLED)
    smp_import(smp::cudart "${smp_libtorch_root}/nvidia/cu13/lib/libcudart.so.13")
    smp_import(smp::nccl_library "${smp_libtorch_root}/nvidia/nccl/lib/libnccl.so.2")
    smp_import(smp::c10_cuda "${smp_torch_folder}/lib/libc10_cuda.so")
    smp_import(smp::torch_cuda_library "${smp_torch_folder}/lib/libtorch_cuda.so")

    add_library(smp_cuda_runtime INTERFACE)
    add_library(smp::cuda_runtime ALIAS smp_cuda_runtime)
    target_include_directories(smp_cuda_runtime SYSTEM INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${smp_libtorch_root}/nvidia/cu13/include>)
    target_link_libraries(smp_cuda_runtime INTERFACE smp::cudart)

    smp_import(smp::cublas_library "${smp_libtorch_root}/nvidia/cu13/lib/libcublas.so.13")
    add_library(smp_cublas INTERFACE)
    add_library(smp::cublas ALIAS smp_cublas)
    target_link_libraries(smp_cublas INTERFACE smp::cublas_library smp::cuda_runtime)

    smp_import(smp::cupti_library "${smp_libtorch_root}/nvidia/cu13/lib/libcupti.so.13")
    add_library(smp_cupti INTERFACE)
    add_library(smp::cupti ALIAS smp_cupti)
    target_link_libraries(smp_cupti INTERFACE smp::cupti_library smp::cuda_runtime)

    # One NCCL in the process, torch's: header and library.
    add_library(smp_nccl INTERFACE)
    add_library(smp::nccl ALIAS smp_nccl)
    target_include_directories(smp_nccl SYSTEM INTERFACE "${smp_libtorch_root}/nvidia/nccl/include")
    target_link_libraries(smp_nccl INTERFACE smp::nccl_library smp::cuda_runtime)

    # Nothing names torch_cuda's kernels, they register themselves: the linker must keep a library that seems unneeded.
    add_library(smp_torch_cuda INTERFACE)
    add_library(smp::torch_cuda ALIAS smp_torch_cuda)
    target_link_options(smp_torch_cuda INTERFACE "LINKER:--no-as-needed")
    target_link_libraries(smp_torch_cuda INTERFACE smp::torch smp::torch_cuda_library smp::c10_cuda smp::cuda_runtime)
endif()
