# Writes launch/build_facts.h into the build tree: target smp_build_facts. The version itself stands in the top CMakeLists.txt.

file(STRINGS "${smp_torch_folder}/version.py" smp_libtorch_full_version REGEX "^__version__ *=" LIMIT_COUNT 1)
string(REGEX REPLACE ".*'(.*)'.*" "\\1" smp_libtorch_full_version "${smp_libtorch_full_version}")

# "mpirun (Open MPI) 4.1.4 …"
set(smp_mpi_version none)
if(SMP_MPI_ENABLED)
    execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE smp_mpi_words ERROR_QUIET)
    string(REGEX MATCH "[0-9]+\\.[0-9]+(\\.[0-9]+)?" smp_mpi_version "${smp_mpi_words}")
    set(smp_mpi_version "Open MPI ${smp_mpi_version}")
endif()

set(smp_nccl_version none)
set(smp_cuda_version none)
if(SMP_CUDA_ENABLED)
    set(smp_cuda_version "${CMAKE_CUDA_COMPILER_VERSION}")
    file(STRINGS "${smp_libtorch_root}/nvidia/nccl/include/nccl.h" smp_nccl_lines REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE "#define NCCL_[A-Z]+ ([0-9]+)" "\\1" smp_nccl_version "${smp_nccl_lines}")
    list(JOIN smp_nccl_version "." smp_nccl_version)
endif()

configure_file("${CMAKE_CURRENT_LIST_DIR}/build_facts.h.in" "${PROJECT_BINARY_DIR}/generated/launch/build_facts.h" @ONLY)
add_library(smp_build_facts INTERFACE)
target_include_directories(smp_build_facts INTERFACE "${PROJECT_BINARY_DIR}/generated")
