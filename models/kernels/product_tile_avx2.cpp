#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(32)));

// 12 sums, 3 columns and a row value fill the 16 registers; wider than high, for fewer loads a multiply-add.
ProductKernel product_kernel_avx2() {
    return {.rows = 4,
            .wide_columns = 24,
            .narrow_columns = 16,
            .wide = product_tile<Vector, 4, 3>,
            .narrow = product_tile<Vector, 4, 2>};
}

}  // namespace smp::models::kernels
