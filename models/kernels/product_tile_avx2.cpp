#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(32)));

ProductKernel product_kernel_avx2() { return {.rows = 6, .columns = 2 * 32 / 4, .tile = product_tile<Vector, 6, 2>}; }

}  // namespace smp::models::kernels
