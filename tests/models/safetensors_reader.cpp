#include "tests/models/safetensors_reader.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

namespace smp::models::testing {

namespace {

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot open " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string without_prefix(std::string name) {
    const std::string prefix = "transformer.";
    if (const auto at = name.find(prefix); at != std::string::npos) name.erase(at, prefix.size());
    return name;
}

}  // namespace

NamedTensors read_safetensors(const std::string& path) {
    const std::string bytes = contents(path);
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    const auto header = nlohmann::json::parse(bytes.substr(8, header_bytes));
    NamedTensors tensors;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") continue;
        if (entry.at("dtype") != "F32") throw std::runtime_error(name + " is not fp32");
        at::Tensor tensor = at::empty(entry.at("shape").get<std::vector<std::int64_t>>(), at::kFloat);
        const auto offset = 8 + header_bytes + entry.at("data_offsets").at(0).get<std::uint64_t>();
        std::memcpy(tensor.mutable_data_ptr<float>(), bytes.data() + offset, tensor.nbytes());
        tensors[without_prefix(name)] = tensor;
    }
    return tensors;
}

GoldenCase golden_case(const std::string& name) {
    const std::string folder = std::string(SMP_SOURCE_DIR) + "/tests/golden/" + name + "/";
    const auto config = nlohmann::json::parse(contents(folder + "config.json"));
    const auto training = nlohmann::json::parse(contents(folder + "training.json"));
    GoldenCase golden;
    Gpt2Options& options = golden.options;
    options.n_layer = config.at("n_layer");
    options.n_head = config.at("n_head");
    options.n_embd = config.at("n_embd");
    options.n_positions = config.at("n_positions");
    options.vocab_size = config.at("vocab_size");
    options.layer_norm_epsilon = config.at("layer_norm_epsilon");
    options.tie_word_embeddings = config.at("tie_word_embeddings");
    golden.batch = training.at("batch");
    golden.length = training.at("sequence_length");
    golden.weights = read_safetensors(folder + "model.safetensors");
    golden.reference = read_safetensors(folder + "reference.safetensors");
    golden.loss = training.at("losses").at(0);
    golden.loss_drift = training.at("float32_drift").at("loss");
    golden.logits_drift = training.at("float32_drift").at("logits");
    golden.gradient_drift = training.at("float32_drift").at("grad");

    const std::string stream = contents(folder + "tokens.bin");
    const auto token = [&](std::int64_t i) {
        std::uint16_t value = 0;
        std::memcpy(&value, stream.data() + 2 * i, 2);
        return static_cast<std::int64_t>(value);
    };
    golden.inputs = at::empty({golden.batch, golden.length}, at::kLong);
    golden.targets = at::empty_like(golden.inputs);
    for (std::int64_t i = 0; i < golden.batch * golden.length; ++i) {
        golden.inputs.mutable_data_ptr<std::int64_t>()[i] = token(i);
        golden.targets.mutable_data_ptr<std::int64_t>()[i] = token(i + 1);
    }
    return golden;
}

}  // namespace smp::models::testing
