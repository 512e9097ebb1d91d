#include <cstring>

#include <ATen/ops/empty.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/own_kernels.h"

namespace smp::models::kernels {

namespace {

void add(float* sum, const float* x, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) sum[i] += x[i];
}

}  // namespace

at::Tensor embed_tokens(const at::Tensor& tokens, const at::Tensor& table, std::int64_t first) {
    if (cuda::takes(table)) return cuda::embed_tokens(tokens, table, first);
    if (!takes(table)) return aten::embed_tokens(tokens, table, first);
    const std::int64_t rows = tokens.numel(), width = table.size(1), held = table.size(0);
    at::Tensor out = at::empty({rows, width}, table.options());
    const auto bytes = static_cast<std::size_t>(width * element_bytes(storage_of(table)));
    const std::int64_t* token = tokens.const_data_ptr<std::int64_t>();
    for_rows(rows, width, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
            const std::int64_t row = token[n] - first;
            void* to = mutable_elements(out).from(n * width).data;
            if (row >= 0 && row < held)
                // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a row that is held is somewhere
                std::memcpy(to, elements(table).from(row * width).data, bytes);
            else
                std::memset(to, 0, bytes);  // 0 in every storage
        }
    });
    return out;
}

void add_positions(const at::Tensor& x, const at::Tensor& table, std::int64_t first_row, std::int64_t length) {
    if (cuda::takes(x)) return cuda::add_positions(x, table, first_row, length);
    for (std::int64_t row = 0; row < x.size(0);) {  // a run inside one sequence at a time
        const std::int64_t position = (first_row + row) % length, count = std::min(length - position, x.size(0) - row);
        x.narrow(0, row, count).add_(table.narrow(0, position, count));
        row += count;
    }
}

void accumulate_token_gradient(const at::Tensor& dtable, const at::Tensor& dy, const at::Tensor& tokens,
                               std::int64_t first) {
    if (cuda::takes(dy)) return cuda::accumulate_token_gradient(dtable, dy, tokens, first);
    if (!takes(dy)) return aten::accumulate_token_gradient(dtable, dy, tokens, first);
    const std::int64_t rows = tokens.numel(), width = dy.size(1), held = dtable.size(0);
    float* table = dtable.mutable_data_ptr<float>();
    const std::int64_t* token = tokens.const_data_ptr<std::int64_t>();
    for_columns(width, [&](std::int64_t begin, std::int64_t end) {
        RunReader from(elements(dy), end - begin);
        for (std::int64_t n = 0; n < rows; ++n) {
            const std::int64_t row = token[n] - first;
            if (row >= 0 && row < held)
                add(table + row * width + begin, from(n * width + begin, end - begin), end - begin);
        }
    });
}

void accumulate_position_gradient(const at::Tensor& dtable, const at::Tensor& dy, std::int64_t sequences,
                                  std::int64_t length) {
    if (cuda::takes(dy)) return cuda::accumulate_position_gradient(dtable, dy, sequences, length);
    if (!takes(dy)) return aten::accumulate_position_gradient(dtable, dy, sequences, length);
    const std::int64_t width = dy.size(1);
    float* table = dtable.mutable_data_ptr<float>();
    for_rows(length, width * sequences, [&](std::int64_t begin, std::int64_t end) {
        RunReader from(elements(dy), width);
        for (std::int64_t position = begin; position < end; ++position)
            for (std::int64_t s = 0; s < sequences; ++s)
                add(table + position * width, from((s * length + position) * width, width), width);
    });
}

}  // namespace smp::models::kernels
