# Debian's packages, as found by their own CMake files or by pkg-config.

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(cxxopts REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)

# C interface only; no MPI C++ bindings.
find_package(MPI REQUIRED COMPONENTS C)
add_library(smp_mpi INTERFACE)
add_library(smp::mpi ALIAS smp_mpi)
target_compile_definitions(smp_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_link_libraries(smp_mpi INTERFACE MPI::MPI_C)

if(SMP_TESTS)
    find_package(GTest REQUIRED)
    find_package(rapidcheck REQUIRED)
endif()
