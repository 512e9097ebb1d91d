// Products by cuBLAS, with fp32 accumulation and no TF32. Its matrices lie column after column, ours row after row: it
// is asked for cᵀ = bᵀ · aᵀ, where a matrix of ours is the transpose of what cuBLAS takes it for.
#include <algorithm>
#include <cublas_v2.h>
#include <map>
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

#include "models/kernels/cuda/device_kernels.h"

namespace smp::models::kernels::cuda {

namespace {

void require(cublasStatus_t status, const char* what) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw std::runtime_error(std::string("cuBLAS: ") + what + ": " + cublasGetStatusString(status));
}

/// A thread's handles, one a device. What sums in 16 bits is forbidden: storing rounds, adding does not.
class Handles {
  public:
    ~Handles() {
        for (const auto& [device, handle] : handles_) (void)cublasDestroy(handle);  // nobody is left to hear of it
    }
    cublasHandle_t of_current_device() {
        int device = 0;
        if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess)
            throw std::runtime_error(std::string("no current CUDA device: ") + cudaGetErrorString(error));
        cublasHandle_t& handle = handles_[device];
        if (handle == nullptr) {
            require(cublasCreate(&handle), "no handle");
            const auto mode =
                static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
            require(cublasSetMathMode(handle, mode), "the way of adding");
        }
        return handle;
    }

  private:
    std::map<int, cublasHandle_t> handles_;
};

cudaDataType type_of(Storage storage) {
    switch (storage) {
        case Storage::bf16: return CUDA_R_16BF;
        case Storage::fp16: return CUDA_R_16F;
        case Storage::fp32: break;
    }
    return CUDA_R_32F;
}

/// A view [rows, columns] as cuBLAS takes its transpose.
struct Operand {
    cublasOperation_t operation;
    int stride;
};
Operand transpose_of(const MatrixView& view, std::int64_t rows, std::int64_t columns) {
    if (view.column_stride == 1) return {CUBLAS_OP_N, static_cast<int>(std::max(view.row_stride, columns))};
    return {CUBLAS_OP_T, static_cast<int>(std::max(view.column_stride, rows))};
}

}  // namespace

void multiply(const Product& p, void* stream) {
    if (p.m == 0 || p.n == 0) return;
    if (p.start == Start::bias) throw std::logic_error("cuda::multiply: a bias is put into c before (fill_rows)");
    thread_local Handles handles;
    const cublasHandle_t handle = handles.of_current_device();
    require(cublasSetStream(handle, static_cast<cudaStream_t>(stream)), "its stream");
    const float one = 1, start = p.start == Start::sum ? 1 : 0;
    const Operand a = transpose_of(p.a, p.m, p.k), b = transpose_of(p.b, p.k, p.n);
    require(cublasGemmEx(handle, b.operation, a.operation, static_cast<int>(p.n), static_cast<int>(p.m),
                         static_cast<int>(p.k), &one, p.b.data, type_of(p.b.storage), b.stride, p.a.data,
                         type_of(p.a.storage), a.stride, &start, p.c, type_of(p.c_storage),
                         static_cast<int>(std::max(p.c_stride, p.n)), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "a product");
}

}  // namespace smp::models::kernels::cuda
