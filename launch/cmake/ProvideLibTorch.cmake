# Finds the pinned LibTorch or installs it. One place for its version and for where it is looked for.
# Also a script: cmake -DSMP_LIBTORCH=… -DSMP_LIBTORCH_INSTALL=build/libtorch -DSMP_CUDA_ENABLED=OFF -P ProvideLibTorch.cmake

set(SMP_LIBTORCH_VERSION 2.11.0)

# The version of the torch in `root`, without the part after "+"; empty where there is none.
function(smp_libtorch_version root result)
    set(version "")
    if(EXISTS "${root}/torch/lib/libtorch_cpu.so" AND EXISTS "${root}/torch/version.py")
        file(STRINGS "${root}/torch/version.py" line REGEX "^__version__ *=" LIMIT_COUNT 1)
        string(REGEX REPLACE ".*'([0-9.]+).*" "\\1" version "${line}")
    endif()
    set(${result} "${version}" PARENT_SCOPE)
endfunction()

function(smp_provide_libtorch result)
    if(SMP_LIBTORCH)
        smp_libtorch_version("${SMP_LIBTORCH}" version)
        if(NOT version VERSION_EQUAL SMP_LIBTORCH_VERSION)
            message(FATAL_ERROR "SMP_LIBTORCH=${SMP_LIBTORCH} must be a folder with torch/ ${SMP_LIBTORCH_VERSION} in it, found \"${version}\".")
        endif()
        set(${result} "${SMP_LIBTORCH}" PARENT_SCOPE)
        return()
    endif()
    message(FATAL_ERROR "Set SMP_LIBTORCH to the folder that contains torch/.")
endfunction()
