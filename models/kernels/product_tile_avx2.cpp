#include <immintrin.h>

#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

struct Avx2 {
    typedef float Vector __attribute__((vector_size(32)));

    __attribute__((always_inline)) static Vector multiply_add(float x, Vector y, Vector sum) {
        return _mm256_fmadd_ps(_mm256_set1_ps(x), y, sum);
    }
};

}  // namespace

// 12 sums, 3 columns and a row value fill the 16 registers; wider than high, for fewer loads a multiply-add.
ProductKernel product_kernel_avx2() {
    return {.instructions = "AVX2",
            .rows = 4,
            .wide_columns = 24,
            .narrow_columns = 16,
            .wide = product_tile<Avx2, 4, 3>,
            .narrow = product_tile<Avx2, 4, 2>};
}

}  // namespace smp::models::kernels
