# Writes launch/build_facts.h into the build tree: target smp_build_facts. The version itself stands in the top CMakeLists.txt.

file(STRINGS "${smp_torch}/version.py" smp_libtorch_full_version REGEX "^__version__ *=" LIMIT_COUNT 1)
string(REGEX REPLACE ".*'(.*)'.*" "\\1" smp_libtorch_full_version "${smp_libtorch_full_version}")

# "Open MPI v4.1.4, package: …" out of the library's own words.
set(smp_mpi_version "${MPI_C_LIBRARY_VERSION_STRING}")
if(NOT smp_mpi_version)
    execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE smp_mpi_version ERROR_QUIET)
endif()
string(REGEX MATCH "[0-9]+\\.[0-9]+(\\.[0-9]+)?" smp_mpi_number "${smp_mpi_version}")
set(smp_mpi_version "Open MPI ${smp_mpi_number}")

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
