#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(64)));

// 24 sums of 32 registers.
ProductKernel product_kernel_avx512() {
    return {.rows = 12,
            .wide_columns = 32,
            .narrow_columns = 16,
            .wide = product_tile<Vector, 12, 2>,
            .narrow = product_tile<Vector, 12, 1>};
}

}  // namespace smp::models::kernels
