#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(64)));

ProductKernel product_kernel_avx512() {
    return {.rows = 12, .columns = 2 * 64 / 4, .tile = product_tile<Vector, 12, 2>};
}

}  // namespace smp::models::kernels
