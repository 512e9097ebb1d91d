#include <immintrin.h>

#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

struct Avx512 {
    typedef float Vector __attribute__((vector_size(64)));

    __attribute__((always_inline)) static Vector multiply_add(float x, Vector y, Vector sum) {
        return _mm512_fmadd_ps(_mm512_set1_ps(x), y, sum);
    }
};

}  // namespace

// 24 sums of 32 registers.
ProductKernel product_kernel_avx512() {
    return {.instructions = "AVX-512",
            .rows = 12,
            .wide_columns = 32,
            .narrow_columns = 16,
            .wide = product_tile<Avx512, 12, 2>,
            .narrow = product_tile<Avx512, 12, 1>};
}

}  // namespace smp::models::kernels
