#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(16)));

ProductKernel product_kernel_portable() {
    return {.rows = 4,
            .wide_columns = 12,
            .narrow_columns = 8,
            .wide = product_tile<Vector, 4, 3>,
            .narrow = product_tile<Vector, 4, 2>};
}

}  // namespace smp::models::kernels
