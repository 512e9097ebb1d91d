// The driver's entry points that LibTorch asks for. This library carries the name libcuda.so.1, so that whoever wants
// the driver finds what is loaded already.
#include <cuda.h>

#undef cuDevicePrimaryCtxGetState

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int* version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
    *flags = 0;
    *active = 1;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = nullptr;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult, const char** text) {
    *text = "the CUDA stand-in has no driver";
    return CUDA_SUCCESS;
}

}  // extern "C"
