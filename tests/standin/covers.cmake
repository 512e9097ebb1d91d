# Whether the stand-in defines every function of the CUDA runtime that LibTorch calls, and all of NCCL: what it lacks would reach the
# real libraries behind it, which have no device.
#   cmake -DNM=nm -DSTANDIN=LIBRARY -DCALLERS="a.so;b.so" -DNCCL=LIBRARY -P covers.cmake
cmake_minimum_required(VERSION 3.25)

# names(RESULT PATTERN LIBRARY OPTION): dynamic symbols without their versions
function(names result pattern library option)
    execute_process(COMMAND "${NM}" -D ${option} "${library}" OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL " [A-Za-z] ${pattern}[A-Za-z0-9_]*" found "${text}")
    list(TRANSFORM found REPLACE "^ [A-Za-z] " "")
    set(${result} "${found}" PARENT_SCOPE)
endfunction()

set(wanted "")
foreach(caller IN LISTS CALLERS)
    names(called "(cuda[A-Z]|__cuda)" "${caller}" --undefined-only)
    list(APPEND wanted ${called})
endforeach()
names(nccl "nccl[A-Z]" "${NCCL}" --defined-only)
list(APPEND wanted ${nccl})
list(REMOVE_DUPLICATES wanted)
list(LENGTH wanted count)
names(there "(cuda|__cuda|nccl)" "${STANDIN}" --defined-only)
if(count LESS 50)
    message(FATAL_ERROR "only ${count} functions found in ${CALLERS} and ${NCCL}: is ${NM} the right program?")
endif()
list(REMOVE_ITEM wanted ${there})
if(wanted)
    list(JOIN wanted "\n  " text)
    message(FATAL_ERROR "the stand-in neither does nor refuses (tests/standin/refused.cpp):\n  ${text}")
endif()
message(STATUS "${count} functions")
