#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

typedef float Vector __attribute__((vector_size(16)));

ProductKernel product_kernel_portable() {
    return {.rows = 6, .columns = 2 * 16 / 4, .tile = product_tile<Vector, 6, 2>};
}

}  // namespace smp::models::kernels
