// Weights of a GPT-2 whose gradients overflow while its loss is finite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/files/safetensors.h"

namespace smp::testing {

/// In `path`, for a model without tied embeddings. Every embedding is constant along its row, so each LayerNorm gives
/// exactly 0, and its backward multiplies by 1/√ε: with ε at fp32's least, two of them are beyond fp32's largest
/// number.
inline void write_steep_weights(const std::filesystem::path& path, std::int64_t layers, std::int64_t width,
                                std::int64_t positions, std::int64_t vocabulary) {
    std::list<std::vector<float>> values;
    std::vector<runtime::SafetensorsEntry> entries;
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, auto&& value_at) {
        std::int64_t elements = 1;
        for (const std::int64_t size : shape) elements *= size;
        auto& tensor = values.emplace_back();
        for (std::int64_t i = 0; i < elements; ++i) tensor.push_back(value_at(i));
        entries.push_back({.name = name, .shape = std::move(shape), .bytes = std::as_bytes(std::span(tensor))});
    };
    const auto zero = [](std::int64_t) { return 0.0F; };
    const auto one = [](std::int64_t) { return 1.0F; };
    const auto spread = [](std::int64_t i) { return static_cast<float>(i * 7919 % 13 - 6) / 6; };
    const auto affine = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        add(name + ".weight", {in, out}, spread);
        add(name + ".bias", {out}, zero);
    };
    const auto norm = [&](const std::string& name) {
        add(name + ".weight", {width}, one);
        add(name + ".bias", {width}, zero);
    };
    add("wte.weight", {vocabulary, width}, one);
    add("wpe.weight", {positions, width}, zero);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const std::string h = fmt::format("h.{}.", layer);
        norm(h + "ln_1");
        affine(h + "attn.c_attn", width, 3 * width);
        affine(h + "attn.c_proj", width, width);
        norm(h + "ln_2");
        affine(h + "mlp.c_fc", width, 4 * width);
        affine(h + "mlp.c_proj", 4 * width, width);
    }
    norm("ln_f");
    add("lm_head.weight", {vocabulary, width}, spread);
    runtime::write_safetensors(path, entries);
}

}  // namespace smp::testing
