// Causal attention for what tile_attention.cu does not take: a block for 32 queries (or keys) of one head of one
// sequence: each of its 8 warps has four of them, its lanes 32 keys (or queries) of a tile in shared memory. Scores are
// made again in the backward pass, and every sum runs over tiles in ascending order within one block, so that nothing
// is added by atomics.
#include <cmath>

#include "models/kernels/cuda/attention_head.h"
#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"
#include "models/kernels/cuda/tile_attention.h"

namespace smp::models::kernels::cuda {

namespace {

constexpr int kTile = kWarp;          // queries, and keys
constexpr int kWarps = 8;             // of a block
constexpr int kOwn = kTile / kWarps;  // rows of a warp

/// kTile rows of up to kWidth columns, zeros behind the last row and column. A column more keeps lanes that read one
/// column of all rows apart.
template <int kWidth>
using Tile = float[kTile][kWidth + 1];

template <int kWidth, class T>
__device__ void fill(Tile<kWidth>& tile, const Rows<T>& rows, std::int64_t first) {
    for (int row = threadIdx.y; row < kTile; row += kWarps)
        for (int column = threadIdx.x; column < kWidth; column += kWarp)
            tile[row][column] = first + row < rows.length && column < rows.width ? rows.at(first + row, column) : 0.0F;
}

/// Row `row` of `rows` times the tile's row of this lane.
template <int kWidth, class T>
__device__ float product(const Rows<T>& rows, std::int64_t row, const Tile<kWidth>& tile) {
    if (row >= rows.length) return 0;
    float sum = 0;
    for (std::int64_t c = 0; c < rows.width; ++c) sum = fmaf(rows.at(row, c), tile[threadIdx.x][c], sum);
    return sum;
}

/// sums[c] += Σ over the tile's rows of factors[row] · tile[row][column c of this lane].
template <int kWidth>
__device__ void add_rows(float (&sums)[kWidth / kWarp], const float (&factors)[kTile + 1], const Tile<kWidth>& tile) {
    for (int row = 0; row < kTile; ++row) {
        SMP_UNROLLED
        for (int c = 0; c < kWidth / kWarp; ++c)
            sums[c] = fmaf(factors[row], tile[row][c * kWarp + threadIdx.x], sums[c]);
    }
}

template <int kWidth, class T>
__device__ void store_row(T* row, const float (&values)[kWidth / kWarp], std::int64_t width, float factor) {
    SMP_UNROLLED
    for (int c = 0; c < kWidth / kWarp; ++c)
        if (c * kWarp + threadIdx.x < width) row[c * kWarp + threadIdx.x] = stored<T>(values[c] * factor);
}

template <int kWidth, class T>
__global__ void attend(T* out, float* logsumexp, const T* qkv, HeadShape s, WeightDropout dropout, float scale) {
    __shared__ Tile<kWidth> keys, values;
    __shared__ float weights[kTile][kTile + 1];
    const Head head = Head::own();
    const Rows<T> q = head.part(qkv, s, 0), k = head.part(qkv, s, 1), v = head.part(qkv, s, 2);
    const std::int64_t first = std::int64_t{blockIdx.x} * kTile;
    float sums[kOwn][kWidth / kWarp] = {}, most[kOwn], total[kOwn] = {};
    SMP_UNROLLED
    for (float& m : most) m = -INFINITY;
    for (std::int64_t begin = 0; begin <= first; begin += kTile) {
        fill<kWidth>(keys, k, begin);
        fill<kWidth>(values, v, begin);
        __syncthreads();
        const std::int64_t key = begin + threadIdx.x;
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own) {
            const int row = static_cast<int>(threadIdx.y) * kOwn + own;
            const std::int64_t query = first + row;
            const float score = key <= query && query < s.length ? scale * product<kWidth>(q, query, keys) : -INFINITY;
            const float now = fmaxf(most[own], warp_max(score));
            // The first tile has a key for every query; behind the last query nothing counts.
            const float shrunk = now == -INFINITY ? 0.0F : expf(most[own] - now);
            const float weight = score == -INFINITY ? 0.0F : expf(score - now);
            total[own] = fmaf(total[own], shrunk, warp_sum(weight));
            most[own] = now;
            SMP_UNROLLED
            for (float& sum : sums[own]) sum *= shrunk;
            weights[row][threadIdx.x] = weight == 0 ? 0.0F : weight * head.kept(dropout, s, query, key);
        }
        __syncwarp();
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own)
            add_rows<kWidth>(sums[own], weights[static_cast<int>(threadIdx.y) * kOwn + own], values);
        __syncthreads();
    }
    const Rows<T> to = head.output<T>(out, s);
    SMP_UNROLLED
    for (int own = 0; own < kOwn; ++own) {
        const std::int64_t query = first + static_cast<int>(threadIdx.y) * kOwn + own;
        if (query >= s.length) return;
        store_row<kWidth>(const_cast<T*>(to.data) + query * to.stride, sums[own], s.head_width, 1 / total[own]);
        if (threadIdx.x == 0) logsumexp[head.row(s, query)] = most[own] + logf(total[own]);
    }
}

/// delta [b, H, T]: Σ over the columns of ō · o, which is Σ over keys of weight · gradient of the weight.
template <class T>
__global__ void row_products(float* delta, const T* dout, const T* out, HeadShape s) {
    const Head head = Head::own();
    const std::int64_t query = std::int64_t{blockIdx.x} * kWarps + threadIdx.y;
    if (query >= s.length) return;
    const Rows<T> g = head.output(dout, s), o = head.output(out, s);
    float sum = 0;
    for (std::int64_t c = threadIdx.x; c < s.head_width; c += kWarp) sum = fmaf(g.at(query, c), o.at(query, c), sum);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) delta[head.row(s, query)] = sum;
}

template <int kWidth, class T>
__global__ void query_gradient(T* dqkv, const float* delta, const T* dout, const T* qkv, const float* logsumexp,
                               HeadShape s, WeightDropout dropout, float scale) {
    __shared__ Tile<kWidth> keys, values;
    __shared__ float dscores[kTile][kTile + 1];
    const Head head = Head::own();
    const Rows<T> q = head.part(qkv, s, 0), k = head.part(qkv, s, 1), v = head.part(qkv, s, 2);
    const Rows<T> g = head.output(dout, s);
    const std::int64_t first = std::int64_t{blockIdx.x} * kTile;
    float sums[kOwn][kWidth / kWarp] = {};
    for (std::int64_t begin = 0; begin <= first; begin += kTile) {
        fill<kWidth>(keys, k, begin);
        fill<kWidth>(values, v, begin);
        __syncthreads();
        const std::int64_t key = begin + threadIdx.x;
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own) {
            const int row = static_cast<int>(threadIdx.y) * kOwn + own;
            const std::int64_t query = first + row;
            float dscore = 0;
            if (key <= query && query < s.length) {
                const std::int64_t place = head.row(s, query);
                const float weight = expf(fmaf(scale, product<kWidth>(q, query, keys), -logsumexp[place]));
                const float dweight = product<kWidth>(g, query, values) * head.kept(dropout, s, query, key);
                dscore = weight * (dweight - delta[place]) * scale;
            }
            dscores[row][threadIdx.x] = dscore;
        }
        __syncwarp();
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own)
            add_rows<kWidth>(sums[own], dscores[static_cast<int>(threadIdx.y) * kOwn + own], keys);
        __syncthreads();
    }
    const Rows<T> to = head.part<T>(dqkv, s, 0);
    SMP_UNROLLED
    for (int own = 0; own < kOwn; ++own) {
        const std::int64_t query = first + static_cast<int>(threadIdx.y) * kOwn + own;
        if (query < s.length)
            store_row<kWidth>(const_cast<T*>(to.data) + query * to.stride, sums[own], s.head_width, 1);
    }
}

/// A block for 32 keys; the lanes are queries.
template <int kWidth, class T>
__global__ void key_gradient(T* dqkv, const float* delta, const T* dout, const T* qkv, const float* logsumexp,
                             HeadShape s, WeightDropout dropout, float scale) {
    __shared__ Tile<kWidth> queries, gradients;
    __shared__ float dscores[kTile][kTile + 1], weights[kTile][kTile + 1];
    const Head head = Head::own();
    const Rows<T> q = head.part(qkv, s, 0), k = head.part(qkv, s, 1), v = head.part(qkv, s, 2);
    const Rows<T> g = head.output(dout, s);
    const std::int64_t first = std::int64_t{blockIdx.x} * kTile;
    float dk[kOwn][kWidth / kWarp] = {}, dv[kOwn][kWidth / kWarp] = {};
    for (std::int64_t begin = first; begin < s.length; begin += kTile) {
        fill<kWidth>(queries, q, begin);
        fill<kWidth>(gradients, g, begin);
        __syncthreads();
        const std::int64_t query = begin + threadIdx.x;
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own) {
            const int row = static_cast<int>(threadIdx.y) * kOwn + own;
            const std::int64_t key = first + row;
            float weight = 0, dscore = 0;
            if (key <= query && query < s.length) {
                const std::int64_t place = head.row(s, query);
                const float kept = head.kept(dropout, s, query, key);
                weight = expf(fmaf(scale, product<kWidth>(k, key, queries), -logsumexp[place]));
                dscore = weight * (product<kWidth>(v, key, gradients) * kept - delta[place]) * scale;
                weight *= kept;
            }
            dscores[row][threadIdx.x] = dscore;
            weights[row][threadIdx.x] = weight;
        }
        __syncwarp();
        SMP_UNROLLED
        for (int own = 0; own < kOwn; ++own) {
            const int row = static_cast<int>(threadIdx.y) * kOwn + own;
            add_rows<kWidth>(dk[own], dscores[row], queries);
            add_rows<kWidth>(dv[own], weights[row], gradients);
        }
        __syncthreads();
    }
    const Rows<T> to_k = head.part<T>(dqkv, s, 1), to_v = head.part<T>(dqkv, s, 2);
    SMP_UNROLLED
    for (int own = 0; own < kOwn; ++own) {
        const std::int64_t key = first + static_cast<int>(threadIdx.y) * kOwn + own;
        if (key >= s.length) return;
        store_row<kWidth>(const_cast<T*>(to_k.data) + key * to_k.stride, dk[own], s.head_width, 1);
        store_row<kWidth>(const_cast<T*>(to_v.data) + key * to_v.stride, dv[own], s.head_width, 1);
    }
}

dim3 blocks_of(const HeadShape& s, int rows) {
    return {blocks_for(s.length, rows), static_cast<unsigned>(s.heads), static_cast<unsigned>(s.sequences)};
}

template <int kWidth, class T>
void attend_in_tiles(T* out, float* logsumexp, const T* qkv, const HeadShape& s, const WeightDropout& dropout,
                     void* stream) {
    launch(attend<kWidth, T>, blocks_of(s, kTile), dim3(kWarp, kWarps), stream, out, logsumexp, qkv, s, dropout,
           scale_of(s));
}

template <int kWidth, class T>
void gradient_in_tiles(T* dqkv, const float* delta, const T* dout, const T* qkv, const float* logsumexp,
                       const HeadShape& s, const WeightDropout& dropout, void* stream) {
    launch(query_gradient<kWidth, T>, blocks_of(s, kTile), dim3(kWarp, kWarps), stream, dqkv, delta, dout, qkv,
           logsumexp, s, dropout, scale_of(s));
    launch(key_gradient<kWidth, T>, blocks_of(s, kTile), dim3(kWarp, kWarps), stream, dqkv, delta, dout, qkv, logsumexp,
           s, dropout, scale_of(s));
}

}  // namespace

void attention(Elements out, float* logsumexp, ConstElements qkv, const HeadShape& s, const WeightDropout& dropout,
               void* stream) {
    if (takes_tiles(s, {qkv, out})) return attend_by_tiles(out, logsumexp, qkv, s, dropout, stream);
    with_type(qkv.storage, [&](auto zero) {
        using T = decltype(zero);
        if (s.head_width <= 64)
            attend_in_tiles<64>(as<T>(out), logsumexp, as<T>(qkv), s, dropout, stream);
        else
            attend_in_tiles<128>(as<T>(out), logsumexp, as<T>(qkv), s, dropout, stream);
    });
}

void attention_backward(Elements dqkv, float* delta, ConstElements dout, ConstElements qkv, ConstElements out,
                        const float* logsumexp, const HeadShape& s, const WeightDropout& dropout, void* stream) {
    const bool by_tiles = takes_tiles(s, {qkv, dqkv, dout});
    with_type(qkv.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(row_products<T>, blocks_of(s, kWarps), dim3(kWarp, kWarps), stream, delta, as<T>(dout), as<T>(out), s);
        if (by_tiles) return gradient_by_tiles(dqkv, delta, dout, qkv, logsumexp, s, dropout, stream);
        if (s.head_width <= 64)
            gradient_in_tiles<64>(as<T>(dqkv), delta, as<T>(dout), as<T>(qkv), logsumexp, s, dropout, stream);
        else
            gradient_in_tiles<128>(as<T>(dqkv), delta, as<T>(dout), as<T>(qkv), logsumexp, s, dropout, stream);
    });
}

}  // namespace smp::models::kernels::cuda
