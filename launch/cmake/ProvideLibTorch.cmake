# Finds the pinned LibTorch or installs it. The pinned version stands in libtorch_cpu.txt beside this file.
#
# Looked for, in this order: SMP_LIBTORCH (variable or environment), the torch of python3, <source>/build/libtorch and the folder
# to install into. All of them are folders that contain torch/ and, for CUDA, nvidia/. launch/setup runs this file as a script:
#   cmake [-DSMP_LIBTORCH=DIR] [-DSMP_CUDA=AUTO|ON|OFF] -P launch/cmake/ProvideLibTorch.cmake

set(smp_requirements "${CMAKE_CURRENT_LIST_DIR}")
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH smp_source_folder)
cmake_path(GET smp_source_folder PARENT_PATH smp_source_folder)

file(STRINGS "${smp_requirements}/libtorch_cpu.txt" SMP_LIBTORCH_VERSION REGEX "^torch==")
string(REPLACE "torch==" "" SMP_LIBTORCH_VERSION "${SMP_LIBTORCH_VERSION}")

# The version of the torch in `root`, without what follows "+"; empty where there is none.
function(smp_libtorch_version root result)
    set(version "")
    if(EXISTS "${root}/torch/lib/libtorch_cpu.so" AND EXISTS "${root}/torch/version.py")
        file(STRINGS "${root}/torch/version.py" line REGEX "^__version__ *=" LIMIT_COUNT 1)
        string(REGEX REPLACE ".*'([0-9.]+).*" "\\1" version "${line}")
    endif()
    set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Whether the LibTorch in `root` is complete with CUDA, NCCL and their headers.
function(smp_libtorch_has_cuda root result)
    set(${result} OFF PARENT_SCOPE)
    if(EXISTS "${root}/torch/lib/libtorch_cuda.so" AND EXISTS "${root}/nvidia/nccl/include/nccl.h"
       AND EXISTS "${root}/nvidia/cu13/lib/libcublas.so.13")
        set(${result} ON PARENT_SCOPE)
    endif()
endfunction()

# The folder that holds python3's torch, without importing it.
function(smp_libtorch_of_python result)
    set(${result} "" PARENT_SCOPE)
    find_program(SMP_PYTHON3 python3)
    mark_as_advanced(SMP_PYTHON3)
    if(SMP_PYTHON3)
        execute_process(
            COMMAND "${SMP_PYTHON3}" -c "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(os.path.dirname(s.origin)) if s and s.origin else '', end='')"
            OUTPUT_VARIABLE folder ERROR_QUIET
        )
        set(${result} "${folder}" PARENT_SCOPE)
    endif()
endfunction()

# Installs into `root` by pip; an interrupted installation leaves nothing that looks complete.
function(smp_install_libtorch root cuda)
    find_program(SMP_PYTHON3 python3)
    if(cuda)
        set(list libtorch_cuda.txt)
        set(size "with CUDA libraries, about 3.5 GB on disk, 2 minutes")
    else()
        set(list libtorch_cpu.txt)
        set(size "about 1.2 GB on disk, 1 minute")
    endif()
    set(remedy "install torch==${SMP_LIBTORCH_VERSION} elsewhere and name its folder by SMP_LIBTORCH, or run ./launch/setup")
    execute_process(COMMAND "${SMP_PYTHON3}" -m pip --version RESULT_VARIABLE no_pip OUTPUT_QUIET ERROR_QUIET)
    if(NOT SMP_PYTHON3 OR no_pip)
        message(FATAL_ERROR "LibTorch ${SMP_LIBTORCH_VERSION} was not found and python3's pip, which would install it, is missing; ${remedy}.")
    endif()
    message(STATUS "Installing LibTorch ${SMP_LIBTORCH_VERSION} into ${root} (${size}) by: python3 -m pip install --no-deps --target … -r launch/cmake/${list}")
    file(REMOVE_RECURSE "${root}.part")
    execute_process(
        # pip's complaints go where its other words go, so that CMake's own sentence stays alone.
        COMMAND sh -c "exec \"$@\" 2>&1" sh "${CMAKE_COMMAND}" -E env PIP_ROOT_USER_ACTION=ignore "${SMP_PYTHON3}" -m pip install
                --quiet --no-deps --no-compile --disable-pip-version-check --target "${root}.part"
                -r "${smp_requirements}/${list}"
        RESULT_VARIABLE failed
    )
    if(failed)
        file(REMOVE_RECURSE "${root}.part")
        message(FATAL_ERROR "pip could not install LibTorch ${SMP_LIBTORCH_VERSION} (its own words are above; often there is no network or the disk is full); mend that and run this again, or ${remedy}.")
    endif()
    file(REMOVE_RECURSE "${root}")
    file(RENAME "${root}.part" "${root}")
endfunction()

# smp_provide_libtorch(RESULT INSTALL_FOLDER CUDA_WANTED): the folder to use. Installs where nothing fits.
function(smp_provide_libtorch result install_folder cuda_wanted)
    set(given "${SMP_LIBTORCH}")
    if(NOT given)
        set(given "$ENV{SMP_LIBTORCH}")
    endif()
    if(given)
        smp_libtorch_version("${given}" version)
        if(NOT version)
            message(FATAL_ERROR "SMP_LIBTORCH is ${given}, but ${given}/torch/lib/libtorch_cpu.so does not exist; it must be the folder that contains torch/ (for pip: site-packages or the --target folder).")
        elseif(NOT version VERSION_EQUAL SMP_LIBTORCH_VERSION)
            message(FATAL_ERROR "SMP_LIBTORCH is ${given}, which holds torch ${version}; this project is built with exactly ${SMP_LIBTORCH_VERSION}: pip install --target DIR torch==${SMP_LIBTORCH_VERSION}.")
        endif()
        set(${result} "${given}" PARENT_SCOPE)
        return()
    endif()

    smp_libtorch_of_python(of_python)
    set(fallback "")
    foreach(root IN ITEMS "${of_python}" "${smp_source_folder}/build/libtorch" "${install_folder}")
        smp_libtorch_version("${root}" version)
        smp_libtorch_has_cuda("${root}" has_cuda)
        if(root AND version VERSION_EQUAL SMP_LIBTORCH_VERSION)
            if(has_cuda OR NOT cuda_wanted)
                set(${result} "${root}" PARENT_SCOPE)
                return()
            endif()
            message(STATUS "LibTorch ${version} in ${root} lacks the CUDA libraries, looking on (SMP_CUDA=OFF would use it)")
        elseif(version)
            message(STATUS "LibTorch ${version} in ${root} is not the pinned ${SMP_LIBTORCH_VERSION}, looking on")
        endif()
    endforeach()
    smp_install_libtorch("${install_folder}" "${cuda_wanted}")
    set(${result} "${install_folder}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    include("${CMAKE_CURRENT_LIST_DIR}/FindNvcc.cmake")
    smp_find_nvcc("${SMP_CUDA}" nvcc)
    smp_provide_libtorch(root "${smp_source_folder}/build/libtorch" "${nvcc}")
    message(STATUS "LibTorch ${SMP_LIBTORCH_VERSION}: ${root}")
endif()
