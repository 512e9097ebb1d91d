#include "models/kernels/kernel_table.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/tile_attention.h"
#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

const char* word_of(Storage storage) {
    switch (storage) {
        case Storage::bf16: return "bf16";
        case Storage::fp16: return "fp16";
        case Storage::fp32: break;
    }
    return "fp32";
}

/// On CUDA.
std::string products(Storage storage) {
    return storage == Storage::fp32 ? "cuBLAS in fp32, no TF32"
                                    : fmt::format("cuBLAS in {}, summed in fp32", word_of(storage));
}

/// On CUDA.
std::string attention(Storage storage, std::int64_t head_width) {
    const cuda::HeadShape head{.sequences = 1, .length = 1, .heads = 1, .head_width = head_width};
    if (!cuda::takes_heads(head))
        throw std::logic_error(fmt::format("kernel_table: heads of {} columns on CUDA", head_width));
    if (cuda::takes_tiles(head, {{nullptr, storage}}))
        return fmt::format("own kernel on tensor cores, {}", word_of(storage));
    return "own kernel, scalar, fp32 inside";
}

}  // namespace

std::vector<ImplementedOperator> kernel_table(DeviceKind device, Storage storage, std::int64_t head_width) {
    const bool on_cuda = device == DeviceKind::cuda;
    const char* const own = on_cuda ? "own kernels" : "own loops";
    std::vector<ImplementedOperator> table = {
        {"products",
         on_cuda ? products(storage) : fmt::format("own {} tiles, fp32", best_product_kernel().instructions)},
        {"attention", on_cuda ? attention(storage, head_width) : own}};
    for (const char* const name : {"LayerNorm", "GELU", "residual and dropout", "embedding", "cross-entropy"})
        table.push_back({name, own});
    return table;
}

std::string in_words(const std::vector<ImplementedOperator>& table) {
    std::vector<std::pair<std::string, std::vector<std::string>>> groups;  // of an implementation
    for (const ImplementedOperator& each : table) {
        auto group = std::ranges::find(groups, each.taken, [](const auto& known) { return known.first; });
        if (group == groups.end()) group = groups.insert(group, {each.taken, {}});
        group->second.push_back(each.name);
    }
    std::string words;
    for (const auto& [taken, names] : groups)
        words += fmt::format("{}{}: {}", words.empty() ? "" : "; ", fmt::join(names, ", "), taken);
    return words;
}

}  // namespace smp::models::kernels
