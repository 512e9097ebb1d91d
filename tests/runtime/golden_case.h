// A reference run in tests/golden as a job: what its training.json and config.json say.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/gpt2/gpt2.h"
#include "runtime/job/job.h"

namespace smp::testing {

struct GoldenCase {
    std::string name;
    std::string folder;
    runtime::Job job;
    std::vector<double> losses, grad_norms, learning_rates;
    // How far honest fp32 arithmetic lies from the float64 reference; ten times that is the bound for any correct
    // implementation (tests/golden/README.md).
    double loss_drift = 0, gradient_drift = 0, final_drift = 0;
};

inline GoldenCase golden_case(const std::string& name) {
    GoldenCase golden;
    golden.name = name;
    golden.folder = std::string(SMP_SOURCE_DIR) + "/tests/golden/" + name;
    const auto read = [&](const char* file) {
        std::ifstream stream(golden.folder + "/" + file);
        return nlohmann::json::parse(stream);
    };
    const auto config = read("config.json"), training = read("training.json");
    golden.losses = training["losses"].get<std::vector<double>>();
    golden.grad_norms = training["grad_norms"].get<std::vector<double>>();
    golden.learning_rates = training["learning_rates"].get<std::vector<double>>();
    golden.loss_drift = training["float32_drift"]["loss"];
    golden.gradient_drift = training["float32_drift"]["grad"];
    golden.final_drift = training["float32_drift"]["final"];

    models::Gpt2Options model;
    model.n_layer = config["n_layer"];
    model.n_head = config["n_head"];
    model.n_embd = config["n_embd"];
    model.n_positions = config["n_positions"];
    model.vocab_size = config["vocab_size"];
    model.layer_norm_epsilon = config["layer_norm_epsilon"];
    model.tie_word_embeddings = config["tie_word_embeddings"];
    golden.job.model = models::gpt2(model);

    auto& options = golden.job.training;
    options.steps = training["steps"];
    options.sequence_length = training["sequence_length"].get<std::int64_t>();
    options.global_batch_size = training["batch"].get<std::int64_t>();
    options.learning_rate = training["max_lr"];
    options.min_learning_rate = training["min_lr"].get<double>();
    options.warmup_steps = training["warmup_steps"];
    options.beta1 = training["beta1"];
    options.beta2 = training["beta2"];
    options.epsilon = training["eps"];
    options.weight_decay = training["weight_decay"];
    options.gradient_clip_norm = training["clip_norm"];
    options.initial_weights = golden.folder + "/model.safetensors";

    golden.job.data.train = golden.folder + "/tokens.bin";
    golden.job.data.format = runtime::DataFormat::nanogpt;
    golden.job.data.order = runtime::DataOrder::sequential;
    return golden;
}

}  // namespace smp::testing
