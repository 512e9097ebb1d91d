#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

struct Portable {
    typedef float Vector __attribute__((vector_size(16)));

    __attribute__((always_inline)) static Vector multiply_add(float x, Vector y, Vector sum) { return x * y + sum; }
};

}  // namespace

ProductKernel product_kernel_portable() {
    return {.instructions = "portable",
            .rows = 4,
            .wide_columns = 12,
            .narrow_columns = 8,
            .wide = product_tile<Portable, 4, 3>,
            .narrow = product_tile<Portable, 4, 2>};
}

}  // namespace smp::models::kernels
