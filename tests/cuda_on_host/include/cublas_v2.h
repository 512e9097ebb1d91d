// Stands in for cuBLAS's header where our calls of it are compiled for the host: matrices that lie column after column,
// as its documentation has them, multiplied term by term and rounded once.
#pragma once

#include <algorithm>
#include <cstdint>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <fmt/format.h>

#include "tests/cuda_on_host/cuda_on_host.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_INVALID_VALUE };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
enum cudaDataType { CUDA_R_32F, CUDA_R_16BF, CUDA_R_16F };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT };
struct cublasContext {
    void* stream = nullptr;
};
using cublasHandle_t = cublasContext*;

inline const char* cublasGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "an invalid value";
}
inline cublasStatus_t cublasCreate(cublasHandle_t* handle) {
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream(cublasHandle_t handle, void* stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetMathMode(cublasHandle_t /*handle*/, cublasMath_t /*mode*/) {
    return CUBLAS_STATUS_SUCCESS;
}

namespace smp::testing::cublas_on_host {

inline float read(const void* data, cudaDataType type, std::int64_t i) {
    switch (type) {
        case CUDA_R_16BF: return static_cast<const c10::BFloat16*>(data)[i];
        case CUDA_R_16F: return static_cast<const c10::Half*>(data)[i];
        case CUDA_R_32F: break;
    }
    return static_cast<const float*>(data)[i];
}

inline void write(void* data, cudaDataType type, std::int64_t i, float value) {
    switch (type) {
        case CUDA_R_16BF: static_cast<c10::BFloat16*>(data)[i] = value; return;
        case CUDA_R_16F: static_cast<c10::Half*>(data)[i] = value; return;
        case CUDA_R_32F: break;
    }
    static_cast<float*>(data)[i] = value;
}

}  // namespace smp::testing::cublas_on_host

/// c [m, n] = alpha · op(a) [m, k] · op(b) [k, n] + beta · c; element (i, j) of a matrix is [i + j · its stride].
inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t of_a, cublasOperation_t of_b, int m, int n,
                                   int k, const void* alpha, const void* a, cudaDataType a_type, int a_stride,
                                   const void* b, cudaDataType b_type, int b_stride, const void* beta, void* c,
                                   cudaDataType c_type, int c_stride, cublasComputeType_t /*compute*/,
                                   cublasGemmAlgo_t /*algorithm*/) {
    using namespace smp::testing::cublas_on_host;
    const int a_rows = of_a == CUBLAS_OP_N ? m : k, b_rows = of_b == CUBLAS_OP_N ? k : n;
    if (handle == nullptr || m < 0 || n < 0 || k < 0 || a_stride < std::max(1, a_rows) ||
        b_stride < std::max(1, b_rows) || c_stride < std::max(1, m) || a_type != b_type)
        return CUBLAS_STATUS_INVALID_VALUE;
    const float factor = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
    smp::testing::cuda_on_host::load(fmt::format("cublasGemmEx {} {} {} {} {} {} {}", m, n, k, static_cast<int>(of_a),
                                                 static_cast<int>(of_b), static_cast<int>(a_type),
                                                 static_cast<int>(c_type)));
    smp::testing::cuda_on_host::in_stream(handle->stream, [=] {
        for (std::int64_t j = 0; j < n; ++j)
            for (std::int64_t i = 0; i < m; ++i) {
                float sum = 0;
                for (std::int64_t t = 0; t < k; ++t)
                    sum += read(a, a_type, of_a == CUBLAS_OP_N ? i + t * a_stride : t + i * a_stride) *
                           read(b, b_type, of_b == CUBLAS_OP_N ? t + j * b_stride : j + t * b_stride);
                const std::int64_t place = i + j * c_stride;
                const float before = kept == 0 ? 0.0F : kept * read(c, c_type, place);
                write(c, c_type, place, factor * sum + before);
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}
