// A warp has 16 queries (or keys) of one head of one sequence, a block several warps; tiles of keys and values (or
// queries and gradients) pass through shared memory, the next one copied while the warps work at this one. Weights and
// the gradients of scores stay in registers: the sums of one product lie over the lanes as the left factor of the next
// one must. Scores are made again in the backward pass, once for queries' and once for keys' gradients, so that every
// sum is one warp's, in one order, and nothing is added by atomics.
//
// After Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning" (arXiv 2307.08691).
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "models/kernels/cuda/attention_head.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/shared_tiles.h"
#include "models/kernels/cuda/stored.h"
#include "models/kernels/cuda/tile_attention.h"

namespace smp::models::kernels::cuda {

namespace {

constexpr int kOwn = 16;        // queries, or keys, of a warp
constexpr int kTile = 2048;     // elements of a tile that passes through
constexpr int kOwnTile = 4096;  // elements of keys, or values, whose gradients a block makes
constexpr float kLog2E = 1.44269504F;

template <int kWidth>
constexpr int kRowsOfTile = kTile / kWidth;
template <int kWidth>
constexpr int kOwnRows = kOwnTile / kWidth;

constexpr int kForwardWarps = 4, kQueryWarps = 4;
template <int kWidth>
constexpr int kKeyWarps = kOwnRows<kWidth> / kOwn;

/// Blocks that a multiprocessor shall hold at a time, where registers suffice for several.
template <int kWidth, bool kDrops, int kMost>
constexpr int kAtATime = kWidth == 64 && !kDrops ? kMost : 1;

/// 2^x within 2 units; 0 for what is below the least normal number.
__device__ float power_of_2(float x) {
#ifdef __CUDACC__
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return exp2f(x);
#endif
}

/// Over the four lanes of a row.
__device__ float row_max(float x) {
    for (int lane = 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFU, x, lane));
    return x;
}
__device__ float row_sum(float x) {
    for (int lane = 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, lane);
    return x;
}

/// Scores [16, keys of a tile] of what a query may not see: row r sees columns up to ahead + r.
template <int kBlocks>
__device__ void mask_above(float (&scores)[kBlocks][4], int ahead) {
    SMP_UNROLLED
    for (int i = 0; i < 4 * kBlocks; ++i)
        if (i / 4 * 8 + lane_column() + i % 2 > ahead + lane_row() + i % 4 / 2 * 8) scores[i / 4][i % 4] = -INFINITY;
}
/// Transposed: row r is a key that columns from ahead + r on see.
template <int kBlocks>
__device__ void mask_below(float (&scores)[kBlocks][4], int ahead) {
    SMP_UNROLLED
    for (int i = 0; i < 4 * kBlocks; ++i)
        if (i / 4 * 8 + lane_column() + i % 2 < ahead + lane_row() + i % 4 / 2 * 8) scores[i / 4][i % 4] = -INFINITY;
}

/// A block of many queries begins first: it takes longest.
__device__ int first_query(int length, int queries) {
    return ((length - 1) / queries - static_cast<int>(blockIdx.x)) * queries;
}

template <int kWidth, bool kDrops, class T>
__global__ void __launch_bounds__(kForwardWarps* kWarp, kAtATime<kWidth, kDrops, 3>)
    attend(T* out, float* logsumexp, const T* qkv, HeadShape s, WeightDropout dropout, float scale) {
    constexpr int kKeys = kRowsOfTile<kWidth>, kBlocks = kKeys / 8;
    alignas(16) __shared__ std::uint16_t keys[2][kTile];
    alignas(16) __shared__ std::uint16_t values[2][kTile];
    const Head head = Head::own();
    const float unit = scale * kLog2E;  // of a score, for powers of 2
    const Rows<T> q = head.part(qkv, s, 0), k = head.part(qkv, s, 1), v = head.part(qkv, s, 2);
    const int length = static_cast<int>(s.length), first = first_query(length, kForwardWarps * kOwn);
    const int own = first + static_cast<int>(threadIdx.y) * kOwn;
    const int end = first + kForwardWarps * kOwn < length ? first + kForwardWarps * kOwn : length;
    std::uint32_t left[kWidth / 16][4];
    load_left<kWidth>(left, q, own);
    float sums[kWidth / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    const auto fetch = [&](int to, int begin) {
        fill_ahead<kWidth, kKeys, kForwardWarps>(keys[to], k, begin);
        fill_ahead<kWidth, kKeys, kForwardWarps>(values[to], v, begin);
    };
    through_tiles<kKeys>(0, end, fetch, [&](int now, int begin) {
        if (begin >= own + kOwn) return;  // no query of this warp sees a key of it
        float weights[kBlocks][4] = {};   // scores, then weights
        multiply_by_rows<T, kWidth>(weights, left, keys[now]);
        const int ahead = own - begin;  // of this warp's queries, beyond the tile's keys
        if (ahead < kKeys) mask_above(weights, ahead);
        SMP_UNROLLED
        for (int half = 0; half < 2; ++half) {
            float highest = most[half];
            SMP_UNROLLED
            for (int i = 0; i < 2 * kBlocks; ++i) highest = fmaxf(highest, weights[i / 2][2 * half + i % 2]);
            highest = row_max(highest);  // the first tile has a key for every query
            const float shrunk = power_of_2((most[half] - highest) * unit), least = -highest * unit;
            most[half] = highest;
            total[half] *= shrunk;
            SMP_UNROLLED
            for (int i = 0; i < 2 * kBlocks; ++i) {
                float& weight = weights[i / 2][2 * half + i % 2];
                weight = power_of_2(fmaf(weight, unit, least));
                total[half] += weight;
                if constexpr (kDrops)
                    weight *=
                        head.kept(dropout, s, own + lane_row() + 8 * half, begin + i / 2 * 8 + lane_column() + i % 2);
            }
            SMP_UNROLLED
            for (int c = 0; c < kWidth / 8; ++c) {
                sums[c][2 * half] *= shrunk;
                sums[c][2 * half + 1] *= shrunk;
            }
        }
        multiply_by_columns<T, kWidth>(sums, weights, values[now]);
    });
    float factors[2];
    SMP_UNROLLED
    for (int half = 0; half < 2; ++half) {
        total[half] = row_sum(total[half]);
        factors[half] = 1 / total[half];
        const int query = own + lane_row() + 8 * half;
        if (query < length && threadIdx.x % 4 == 0)
            logsumexp[head.row(s, query)] = fmaf(most[half], scale, logf(total[half]));
    }
    store_rows<kWidth>(head.output<T>(out, s), own, sums, factors);
}

template <int kWidth, bool kDrops, class T>
__global__ void __launch_bounds__(kQueryWarps* kWarp, kAtATime<kWidth, kDrops, 3>)
    query_gradient(T* dqkv, const float* delta, const T* dout, const T* qkv, const float* logsumexp, HeadShape s,
                   WeightDropout dropout, float scale) {
    constexpr int kKeys = kRowsOfTile<kWidth>, kBlocks = kKeys / 8, kQueries = kQueryWarps * kOwn;
    alignas(16) __shared__ std::uint16_t keys[2][kTile];
    alignas(16) __shared__ std::uint16_t values[2][kTile];
    alignas(16) __shared__ std::uint16_t gradients[kQueries * kWidth];
    const Head head = Head::own();
    const float unit = scale * kLog2E;  // of a score, for powers of 2
    const Rows<T> k = head.part(qkv, s, 1), v = head.part(qkv, s, 2);
    const int length = static_cast<int>(s.length), first = first_query(length, kQueries);
    const int own = first + static_cast<int>(threadIdx.y) * kOwn;
    const int end = first + kQueries < length ? first + kQueries : length;
    std::uint32_t queries[kWidth / 16][4];
    load_left<kWidth>(queries, head.part(qkv, s, 0), own);
    fill_ahead<kWidth, kQueries, kQueryWarps>(gradients, head.output(dout, s), first);
    float logsums[2], deltas[2];  // of this lane's rows
    SMP_UNROLLED
    for (int half = 0; half < 2; ++half) {
        const int query = own + lane_row() + 8 * half;
        const bool is_there = query < length;
        logsums[half] = is_there ? logsumexp[head.row(s, query)] * kLog2E : INFINITY;  // none: no weight
        deltas[half] = is_there ? delta[head.row(s, query)] : 0.0F;
    }
    float sums[kWidth / 8][4] = {};
    const auto fetch = [&](int to, int begin) {
        fill_ahead<kWidth, kKeys, kQueryWarps>(keys[to], k, begin);
        fill_ahead<kWidth, kKeys, kQueryWarps>(values[to], v, begin);
    };
    through_tiles<kKeys>(0, end, fetch, [&](int now, int begin) {
        if (begin >= own + kOwn) return;  // no query of this warp sees a key of it
        float weights[kBlocks][4] = {}, dscores[kBlocks][4] = {};
        multiply_by_rows<T, kWidth>(weights, queries, keys[now]);
        multiply_by_rows<T, kWidth>(dscores, gradients, kOwn * static_cast<int>(threadIdx.y), values[now]);
        const int ahead = own - begin;  // of this warp's queries, beyond the tile's keys
        if (ahead < kKeys) mask_above(weights, ahead);
        SMP_UNROLLED
        for (int i = 0; i < 4 * kBlocks; ++i) {
            const int half = i % 4 / 2;
            const float weight = power_of_2(fmaf(weights[i / 4][i % 4], unit, -logsums[half]));
            float& gradient = dscores[i / 4][i % 4];
            if constexpr (kDrops)
                gradient *=
                    head.kept(dropout, s, own + lane_row() + 8 * half, begin + i / 4 * 8 + lane_column() + i % 2);
            gradient = weight * (gradient - deltas[half]);
        }
        multiply_by_columns<T, kWidth>(sums, dscores, keys[now]);
    });
    store_rows<kWidth>(head.part<T>(dqkv, s, 0), own, sums, {scale, scale});
}

/// Scores lie transposed: rows are keys.
template <int kWidth, bool kDrops, class T>
__global__ void __launch_bounds__(kKeyWarps<kWidth>* kWarp, kAtATime<kWidth, kDrops, 3>)
    key_gradient(T* dqkv, const float* delta, const T* dout, const T* qkv, const float* logsumexp, HeadShape s,
                 WeightDropout dropout, float scale) {
    constexpr int kWarps = kKeyWarps<kWidth>, kQueries = kRowsOfTile<kWidth>, kBlocks = kQueries / 8;
    alignas(16) __shared__ std::uint16_t queries[2][kTile];
    alignas(16) __shared__ std::uint16_t gradients[2][kTile];
    alignas(16) __shared__ std::uint16_t keys[kOwnTile];
    alignas(16) __shared__ std::uint16_t values[kOwnTile];
    __shared__ float logsums[2][kQueries];
    __shared__ float deltas[2][kQueries];
    const Head head = Head::own();
    const float unit = scale * kLog2E;  // of a score, for powers of 2
    const Rows<T> q = head.part(qkv, s, 0), g = head.output(dout, s);
    const int length = static_cast<int>(s.length), first = static_cast<int>(blockIdx.x) * kWarps * kOwn;
    const int own = first + static_cast<int>(threadIdx.y) * kOwn;
    fill_ahead<kWidth, kOwnRows<kWidth>, kWarps>(keys, head.part(qkv, s, 1), first);
    fill_ahead<kWidth, kOwnRows<kWidth>, kWarps>(values, head.part(qkv, s, 2), first);
    float dk[kWidth / 8][4] = {}, dv[kWidth / 8][4] = {};
    const auto fetch = [&](int to, int begin) {
        fill_ahead<kWidth, kQueries, kWarps>(queries[to], q, begin);
        fill_ahead<kWidth, kQueries, kWarps>(gradients[to], g, begin);
        const int i = static_cast<int>(threadIdx.y * kWarp + threadIdx.x);
        if (i >= kQueries) return;
        const bool is_there = begin + i < length;
        logsums[to][i] = is_there ? logsumexp[head.row(s, begin + i)] * kLog2E : INFINITY;  // none: no weight
        deltas[to][i] = is_there ? delta[head.row(s, begin + i)] : 0.0F;
    };
    through_tiles<kQueries>(first, length, fetch, [&](int now, int begin) {
        if (begin + kQueries <= own) return;  // no query of it sees a key of this warp
        float weights[kBlocks][4] = {}, dscores[kBlocks][4] = {};
        multiply_by_rows<T, kWidth>(weights, keys, kOwn * static_cast<int>(threadIdx.y), queries[now]);
        multiply_by_rows<T, kWidth>(dscores, values, kOwn * static_cast<int>(threadIdx.y), gradients[now]);
        const int ahead = own - begin;  // of this warp's keys, beyond the tile's queries
        if (ahead + kOwn > 0) mask_below(weights, ahead);
        SMP_UNROLLED
        for (int i = 0; i < 4 * kBlocks; ++i) {
            const int in_tile = i / 4 * 8 + lane_column() + i % 2;
            float &weight = weights[i / 4][i % 4], &gradient = dscores[i / 4][i % 4];
            weight = power_of_2(fmaf(weight, unit, -logsums[now][in_tile]));
            if constexpr (kDrops) {
                const float kept = head.kept(dropout, s, begin + in_tile, own + lane_row() + i % 4 / 2 * 8);
                gradient = weight * (gradient * kept - deltas[now][in_tile]);
                weight *= kept;
            } else {
                gradient = weight * (gradient - deltas[now][in_tile]);
            }
        }
        multiply_by_columns<T, kWidth>(dk, dscores, queries[now]);
        multiply_by_columns<T, kWidth>(dv, weights, gradients[now]);
    });
    store_rows<kWidth>(head.part<T>(dqkv, s, 1), own, dk, {scale, scale});
    store_rows<kWidth>(head.part<T>(dqkv, s, 2), own, dv, {1, 1});
}

dim3 blocks_of(const HeadShape& s, int rows) {
    return {blocks_for(s.length, rows), static_cast<unsigned>(s.heads), static_cast<unsigned>(s.sequences)};
}

/// f(T{}, width of tiles, whether there is a dropout), all as types, for elements of 16 bits.
template <class F>
void with_tiles(Storage storage, const HeadShape& shape, const WeightDropout& dropout, const F& f) {
    const auto of_width = [&](auto zero) {
        const auto with_dropout = [&](auto width) {
            if (dropout.is_on)
                f(zero, width, std::true_type{});
            else
                f(zero, width, std::false_type{});
        };
        if (shape.head_width <= 64)
            with_dropout(std::integral_constant<int, 64>{});
        else
            with_dropout(std::integral_constant<int, 128>{});
    };
    if (storage == Storage::bf16)
        of_width(__nv_bfloat16{});
    else
        of_width(__half{});
}

}  // namespace

bool takes_tiles(const HeadShape& shape, std::initializer_list<ConstElements> parts) {
    return shape.head_width % kRunLength == 0 && std::all_of(parts.begin(), parts.end(), [](const ConstElements& part) {
               return part.storage != Storage::fp32 && reinterpret_cast<std::uintptr_t>(part.data) % 16 == 0;
           });
}

void attend_by_tiles(Elements out, float* logsumexp, ConstElements qkv, const HeadShape& s,
                     const WeightDropout& dropout, void* stream) {
    with_tiles(qkv.storage, s, dropout, [&](auto zero, auto width, auto drops) {
        using T = decltype(zero);
        launch(attend<width(), drops(), T>, blocks_of(s, kForwardWarps * kOwn), dim3(kWarp, kForwardWarps), stream,
               as<T>(out), logsumexp, as<T>(qkv), s, dropout, scale_of(s));
    });
}

void gradient_by_tiles(Elements dqkv, const float* delta, ConstElements dout, ConstElements qkv, const float* logsumexp,
                       const HeadShape& s, const WeightDropout& dropout, void* stream) {
    with_tiles(qkv.storage, s, dropout, [&](auto zero, auto width, auto drops) {
        using T = decltype(zero);
        launch(query_gradient<width(), drops(), T>, blocks_of(s, kQueryWarps * kOwn), dim3(kWarp, kQueryWarps), stream,
               as<T>(dqkv), delta, as<T>(dout), as<T>(qkv), logsumexp, s, dropout, scale_of(s));
        constexpr int kWarps = kKeyWarps<width()>;
        launch(key_gradient<width(), drops(), T>, blocks_of(s, kWarps * kOwn), dim3(kWarp, kWarps), stream, as<T>(dqkv),
               delta, as<T>(dout), as<T>(qkv), logsumexp, s, dropout, scale_of(s));
    });
}

}  // namespace smp::models::kernels::cuda
