#include "tests/standin/errors.h"

#include <cstdio>
#include <dlfcn.h>

namespace smp::standin {

namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Refusal {
    std::string sentence;
    cudaError_t code = cudaSuccess;
};
Refusal& last_refusal() {
    static thread_local Refusal refusal;
    return refusal;
}

/// The words of the real library, which is there behind the stand-in.
const char* words_of(const char* function, cudaError_t code) {
    using Words = const char* (*)(cudaError_t);
    const auto words = reinterpret_cast<Words>(::dlsym(RTLD_NEXT, function));
    return words == nullptr ? "an error of the CUDA stand-in" : words(code);
}

}  // namespace

cudaError_t refuse(const std::string& sentence, cudaError_t code) {
    std::fprintf(stderr, "[CUDA stand-in] %s\n", sentence.c_str());
    last_refusal() = {"the CUDA stand-in: " + sentence, code};
    return code;
}

cudaError_t keep(cudaError_t code) {
    if (code != cudaSuccess && code != cudaErrorNotReady) last_error = code;
    return code;
}

int refuse_cuda(const char* name) { return keep(refuse(std::string("there is no ") + name)); }

int& current_device() {
    static thread_local int device = 0;
    return device;
}

}  // namespace smp::standin

extern "C" {

cudaError_t cudaGetLastError() {
    const cudaError_t code = smp::standin::last_error;
    smp::standin::last_error = cudaSuccess;
    return code;
}

cudaError_t cudaPeekAtLastError() { return smp::standin::last_error; }

const char* cudaGetErrorString(cudaError_t code) {
    const auto& refusal = smp::standin::last_refusal();
    if (code != cudaSuccess && refusal.code == code) return refusal.sentence.c_str();
    return smp::standin::words_of("cudaGetErrorString", code);
}

const char* cudaGetErrorName(cudaError_t code) { return smp::standin::words_of("cudaGetErrorName", code); }

}  // extern "C"
