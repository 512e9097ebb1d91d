#include "models/kernels/cuda/launch.h"
#include "runtime/state/limbs.h"
#include "runtime/state/norm_block.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime::cuda {

namespace {

constexpr int kThreads = 256, kBlocks = kThreads / kBlockLanes;
constexpr int kWords = Limbs::kCount + 1;

using Word = unsigned long long;

/// A block of threads adds up what its blocks of elements come to, and then adds that to the words: integers, so that
/// the order does not matter.
__global__ void squares(Word* words, const float* values, std::int64_t count) {
    __shared__ Word own[kWords];
    __shared__ double lanes[kBlocks][kBlockLanes];
    for (int i = threadIdx.x; i < kWords; i += kThreads) own[i] = 0;
    const int block = static_cast<int>(threadIdx.x) / kBlockLanes, lane = static_cast<int>(threadIdx.x) % kBlockLanes;
    const std::int64_t first = (std::int64_t{blockIdx.x} * kBlocks + block) * kBlockElements;
    double sum = 0;
    for (std::int64_t i = first + lane; i < first + kBlockElements && i < count; i += kBlockLanes)
        sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    lanes[block][lane] = sum;
    __syncthreads();
    if (lane == 0) {
        double total = 0;
        for (int l = 0; l < kBlockLanes; ++l) total += lanes[block][l];
        const Limbs limbs = limbs_of(static_cast<std::uint64_t>(__double_as_longlong(total)));
        if (!limbs.is_finite) {
            atomicAdd(&own[Limbs::kCount], Word{1});
        } else {
            SMP_UNROLLED
            for (int part = 0; part < 3; ++part)
                if (limbs.parts[part] != 0) atomicAdd(&own[limbs.first + part], Word{limbs.parts[part]});
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kWords; i += kThreads)
        if (own[i] != 0) atomicAdd(&words[i], own[i]);
}

}  // namespace

void add_squares(std::int64_t* words, const float* values, std::int64_t count, void* stream) {
    using namespace models::kernels::cuda;
    launch(squares, blocks_for(count, kBlocks * kBlockElements), kThreads, stream, reinterpret_cast<Word*>(words),
           values, count);
}

}  // namespace smp::runtime::cuda
