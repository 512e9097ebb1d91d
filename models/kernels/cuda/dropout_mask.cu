#include "models/kernels/cuda/launch.h"
#include "models/kernels/dropout_mask.h"

namespace smp::models::kernels {

namespace {

constexpr int kThreads = 256;

__global__ void fill(float* mask, DropoutMask dropout, std::uint64_t first_sequence, std::uint32_t first_row,
                     std::int64_t rows, std::int64_t columns, std::int64_t groups, std::int64_t runs) {
    // One thread: one Philox block, four columns 16 apart.
    const std::int64_t run = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (run >= runs) return;
    const std::int64_t row = run / (groups * 16);  // over all sequences
    const auto counter = static_cast<std::uint32_t>(run % (groups * 16));
    const std::uint64_t sequence = first_sequence + static_cast<std::uint64_t>(row / rows);
    const PhiloxBlock x = philox({counter, first_row + static_cast<std::uint32_t>(row % rows),
                                  static_cast<std::uint32_t>(sequence), static_cast<std::uint32_t>(sequence >> 32)},
                                 dropout.key);
    const std::int64_t column = std::int64_t{counter} / 16 * 64 + counter % 16;
    float* out = mask + row * columns + column;
    const std::uint32_t words[4] = {x.x0, x.x1, x.x2, x.x3};
    for (int word = 0; word < 4; ++word)
        if (column + 16 * word < columns) out[16 * word] = words[word] >= dropout.threshold ? dropout.scale : 0.0F;
}

}  // namespace

void fill_dropout_mask_on_cuda(float* mask, const DropoutMask& dropout, std::uint64_t first_sequence,
                               std::int64_t sequences, std::uint32_t first_row, std::int64_t rows, std::int64_t columns,
                               void* stream) {
    const std::int64_t groups = (columns + 63) / 64;
    const std::int64_t runs = sequences * rows * groups * 16;
    if (runs == 0) return;
    cuda::launch(fill, cuda::blocks_for(runs, kThreads), kThreads, stream, mask, dropout, first_sequence, first_row,
                 rows, columns, groups, runs);
}

}  // namespace smp::models::kernels
