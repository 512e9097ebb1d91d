// What holds for each key of the table, whatever keys there are.
#include <algorithm>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "launch/config/keys.h"
#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using launch::configuration_keys;
using launch::Key;
using ::testing::Contains;
using ::testing::HasSubstr;

Json resolved(const Json& config) { return Json::parse(launch::to_json(load(config))); }

TEST(EveryKey, NamesAreUniqueAndDescribed) {
    std::set<std::string> names;
    for (const Key& key : configuration_keys()) {
        EXPECT_TRUE(names.insert(key.path()).second) << key.path();
        EXPECT_TRUE(key.alias.empty() || names.insert(key.section + '.' + key.alias).second) << key.alias;
        EXPECT_FALSE(key.doc.empty()) << key.path();
        EXPECT_FALSE(key.type.empty()) << key.path();
        EXPECT_THAT(launch::keys_help("", 80), HasSubstr(key.name));
    }
}

/// A configuration in which no key has its default, as far as keys go together.
Json unusual_config() {
    return Json::parse(R"({
        "model": {"n_layer": 6, "n_head": 8, "n_embd": 48, "n_positions": 77, "vocab_size": 300, "n_inner": 100,
                  "layer_norm_epsilon": 2e-5, "tie_word_embeddings": false, "activation_function": "gelu_new",
                  "embd_pdrop": 0.1, "resid_pdrop": 0.2, "attn_pdrop": 0.3, "initializer_range": 0.05},
        "parallel": {"pipeline_parallel_degree": 2, "tensor_parallel_degree": 2, "microbatches": 5,
                     "active_microbatches": 5, "pipeline": "interleaved", "virtual_pipeline_degree": 2,
                     "placement_strategy": "PTD", "optimize": "memory", "auto_partition": false, "memory_weight": 0.25,
                     "stage_layers": [2, 1, 1, 2], "prescaled_batch": true,
                     "shard_optimizer_state": true, "activation_checkpointing": "group_2",
                     "offload_activations": true, "activation_loading_horizon": 7, "fp16": true,
                     "tensor_parallel_seed": 18446744073709551615},
        "training": {"steps": 11, "sequence_length": 14, "batch_size": 10, "seed": 9223372036854775809,
                     "learning_rate": 0.1, "min_learning_rate": 0.07, "warmup_steps": 3, "schedule": "linear",
                     "beta1": 0.8, "beta2": 0.85, "epsilon": 1e-7, "weight_decay": 0.3, "gradient_clip_norm": 0,
                     "initial_weights": "weights", "evaluate_every": 2, "evaluation_batches": 5, "sample_tokens": 7,
                     "sample_prompt": "\"quoted\"\n\u00e9", "sample_temperature": 0.5, "deterministic": true,
                     "loss_scale": {"initial": 1024, "growth_interval": 7, "hysteresis": 3, "minimum": 2}},
        "data": {"train": "a/*.bin", "validation": "../b", "format": "nanogpt", "token_bytes": 4, "tokenizer": "gpt2",
                 "tokenizer_file": "v.tiktoken", "order": "sequential"},
        "checkpoint": {"every": 3, "keep": 5, "directory": "c", "asynchronous": false, "export": true},
        "cluster": {"device": "cpu", "nodes": 2, "devices_per_node": 4, "threads_per_rank": 3, "memory_limit_gib": 1.5,
                    "timeout_seconds": 1.5, "startup_timeout_seconds": 2.5, "share_devices": true},
        "logging": {"every": 4, "level": "debug", "all_ranks": true, "trace_steps": [2, 11],
                    "tensorboard": false, "prometheus_port": 9464}
    })");
}

TEST(EveryKey, RoundTrips) {
    const Json stated = unusual_config();
    const Json written = resolved(stated);
    const Json defaults = resolved(small_config());
    const std::set<std::string> paths = {"training.initial_weights", "data.train", "data.validation",
                                         "data.tokenizer_file", "checkpoint.directory"};
    std::set<std::string> seen_changed;
    for (const Key& key : configuration_keys()) {
        if (!key.write) continue;
        const Json& value = written.at(key.section).at(key.name);
        if (value != defaults.at(key.section).at(key.name)) seen_changed.insert(key.path());
        if (!stated.at(key.section).contains(key.name)) continue;
        if (paths.contains(key.path())) continue;
        EXPECT_EQ(value, stated.at(key.section).at(key.name)) << key.path();
    }
    // A key that this file leaves at its default would not be tested here: those with one value (most are still to
    // come), and those that exclude others, which the next test moves.
    const std::set<std::string> elsewhere = {"model.activation_function", "data.validation_fraction",
                                             "parallel.pipeline", "parallel.bf16"};
    for (const Key& key : configuration_keys()) {
        const bool to_come = key.doc.find("still to come") != std::string::npos;
        if (!key.write || to_come || elsewhere.contains(key.path())) continue;
        EXPECT_TRUE(seen_changed.contains(key.path())) << key.path();
    }
}

TEST(EveryKey, ValuesThatExcludeOthersRoundTripToo) {
    Json config = small_config();
    config["parallel"] = {{"pipeline", "simple"}, {"microbatches", 2}};
    EXPECT_EQ(resolved(config)["parallel"]["pipeline"], "simple");
    config["parallel"]["pipeline"] = "zero_bubble";
    config["data"]["validation_fraction"] = 0.125;
    config["parallel"]["bf16"] = true;
    const Json written = resolved(config);
    EXPECT_EQ(written["parallel"]["pipeline"], "zero_bubble");
    EXPECT_EQ(written["data"]["validation_fraction"], 0.125);
    EXPECT_EQ(written["parallel"]["bf16"], true);
    EXPECT_EQ(written["training"]["global_batch_size"], 8);
}

TEST(EveryKey, AWrittenConfigurationLoadsAsItself) {
    for (const Json& config : {small_config(), unusual_config()}) {
        const launch::Config first = load(config);
        const std::string text = launch::to_json(first);
        const launch::Config second = load(Json::parse(text));
        EXPECT_EQ(launch::to_json(second), text);
        EXPECT_EQ(launch::canonical_text(second), launch::canonical_text(first));
        EXPECT_EQ(second.gpt2, first.gpt2);
        EXPECT_EQ(second.parallel, first.parallel);
        EXPECT_EQ(second.training, first.training);
        EXPECT_EQ(second.data, first.data);
        EXPECT_EQ(second.cluster, first.cluster);
        EXPECT_EQ(second.logging, first.logging);
        EXPECT_EQ(second.world(), first.world());
    }
}

TEST(EveryKey, CanonicalTextIsSortedAndNamesEveryKeyOnce) {
    const std::string text = launch::canonical_text(load(small_config()));
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    EXPECT_TRUE(std::is_sorted(lines.begin(), lines.end()));
    std::set<std::string> names;
    for (const std::string& line : lines) EXPECT_TRUE(names.insert(line.substr(0, line.find('='))).second) << line;
    for (const Key& key : configuration_keys())
        EXPECT_EQ(names.contains(key.path()), static_cast<bool>(key.write)) << key.path();
    EXPECT_THAT(lines, Contains("training.learning_rate=0.0006"));
}

/// One slip of a finger: a character too many, too few, another one, or two in the wrong order.
std::string misspelt(const std::string& name) {
    const auto at = *rc::gen::inRange<std::size_t>(0, name.size());
    const std::string letter(1, *rc::gen::inRange('a', static_cast<char>('z' + 1)));
    std::string wrong = name;
    switch (*rc::gen::inRange(0, 4)) {
        case 0: wrong.insert(at, letter); break;
        case 1: wrong.erase(at, 1); break;
        case 2: wrong.replace(at, 1, letter); break;
        default:
            if (at + 1 < name.size()) std::swap(wrong[at], wrong[at + 1]);
    }
    return wrong;
}

RC_GTEST_PROP(EveryKey, AMisspeltNameSuggestsIt, ()) {
    const Key key = *rc::gen::elementOf(configuration_keys());
    const std::string wrong = misspelt(key.alias.empty() || *rc::gen::arbitrary<bool>() ? key.name : key.alias);
    RC_PRE(!wrong.empty());
    // Not the name itself, and no other key's.
    const auto& sections = launch::configuration_sections();
    const bool unknown = std::none_of(sections.begin(), sections.end(), [&](const std::string& section) {
        return launch::find_key(section, wrong) != nullptr;
    });
    RC_PRE(unknown);
    const auto problems = problems_of(with(small_config(), key.section, wrong, 1));
    RC_ASSERT(problems.size() == 1U);
    RC_ASSERT(problems.front().key == key.section + '.' + wrong);
    const std::string& message = problems.front().message;
    const bool suggested = message.find(key.path()) != std::string::npos ||
                           (!key.alias.empty() && message.find(key.alias) != std::string::npos);
    if (!suggested) RC_FAIL(message);
}

/// Values of every JSON type, none of which means anything to a key of another type.
const std::vector<Json>& values_of_all_types() {
    static const std::vector<Json> values = {
        nullptr, true, -7, 2.5, "no such word", Json::array({"x"}), Json::object({{"x", 1}})};
    return values;
}

TEST(EveryKey, EveryWrongTypeIsReportedWithPathAndValue) {
    for (const Key& key : configuration_keys()) {
        int refused = 0;
        for (const Json& value : values_of_all_types()) {
            launch::Config ignored;
            if (!key.read(ignored, value, "/base") && key.name != "preset") continue;
            const auto problems = problems_of(with(small_config(), key.section, key.name, value));
            if (key.name == "preset" && value.is_null()) continue;
            ++refused;
            ASSERT_EQ(keys_of(problems), std::vector{key.path()}) << value;
            EXPECT_THAT(problems.front().message, HasSubstr("= " + value.dump())) << key.path();
            EXPECT_THAT(problems.front().message, ::testing::AnyOf(HasSubstr("must be"), HasSubstr("not yet")))
                << key.path();
            EXPECT_THAT(problems.front().origin, HasSubstr("job.json"));
        }
        // Text takes any string and nothing else; every other key refuses more.
        EXPECT_GE(refused, key.nullable ? 4 : 5) << key.path();
    }
}

TEST(EveryKey, IsRefusedOutsideItsLimitsWithTheLimit) {
    const std::vector<std::tuple<std::string, std::string, Json>> cases = {
        {"model", "n_layer", 0},
        {"model", "n_head", -1},
        {"model", "n_embd", 0},
        {"model", "n_positions", 0},
        {"model", "vocab_size", 0},
        {"model", "n_inner", 0},
        {"model", "layer_norm_epsilon", 0},
        {"model", "embd_pdrop", 1},
        {"model", "resid_pdrop", -0.5},
        {"model", "attn_pdrop", 1.5},
        {"model", "initializer_range", -1},
        {"parallel", "pipeline_parallel_degree", 0},
        {"parallel", "tensor_parallel_degree", 0},
        {"parallel", "microbatches", 0},
        {"parallel", "active_microbatches", 0},
        {"parallel", "virtual_pipeline_degree", 0},
        {"parallel", "activation_checkpointing", "group_0"},
        {"parallel", "activation_loading_horizon", 0},
        {"cluster", "memory_limit_gib", 0},
        {"parallel", "placement_strategy", "DP"},
        {"parallel", "memory_weight", 1.5},
        {"parallel", "stage_layers", Json::array({-1, 5})},
        {"training", "steps", 0},
        {"training", "sequence_length", 0},
        {"training", "global_batch_size", 0},
        {"training", "learning_rate", -1},
        {"training", "min_learning_rate", -1},
        {"training", "warmup_steps", -1},
        {"training", "beta1", 1},
        {"training", "beta2", 1},
        {"training", "epsilon", 0},
        {"training", "weight_decay", -1},
        {"training", "gradient_clip_norm", -1},
        {"training", "evaluate_every", -1},
        {"training", "evaluation_batches", 0},
        {"training", "sample_tokens", -1},
        {"training", "sample_temperature", 0},
        {"training", "loss_scale", {{"initial", 1000}}},
        {"training", "loss_scale", {{"initial", 2}, {"minimum", 4}}},
        {"training", "loss_scale", {{"growth_interval", 0}}},
        {"training", "loss_scale", {{"hysteresis", 0}}},
        {"data", "train", ""},
        {"data", "validation_fraction", 1},
        {"data", "token_bytes", 3},
        {"checkpoint", "every", -1},
        {"checkpoint", "keep", 0},
        {"cluster", "nodes", 0},
        {"cluster", "devices_per_node", 0},
        {"cluster", "threads_per_rank", 0},
        {"cluster", "timeout_seconds", 0},
        {"cluster", "startup_timeout_seconds", -1},
        {"logging", "every", 0},
        {"logging", "trace_steps", Json::array({1, 0})}};
    for (const auto& [section, key, value] : cases) {
        const auto problems = problems_of(with(small_config(), section, key, value));
        ASSERT_EQ(keys_of(problems), std::vector{section + '.' + key}) << only_problem(problems);
        EXPECT_THAT(problems.front().message, HasSubstr("must be "));
    }
}

// What is positive, or below 1, as JSON has it, must still be so in fp32, where it is used.
TEST(EveryKey, NumbersAreCheckedInTheTypeThatUsesThem) {
    const std::vector<std::tuple<std::string, std::string, double>> cases = {
        {"model", "layer_norm_epsilon", 1e-46},
        {"model", "layer_norm_epsilon", 1e39},
        {"model", "embd_pdrop", 0.99999999},
        {"model", "attn_pdrop", 0.99999999},
        {"model", "resid_pdrop", 0.99999999},
        {"model", "initializer_range", 1e-40},
        {"training", "learning_rate", 1e39},
        {"training", "learning_rate", 1e-46},
        {"training", "min_learning_rate", 1e-46},
        {"training", "beta1", 0.99999999},
        {"training", "beta2", 0.99999999},
        {"training", "epsilon", 1e-46},
        {"training", "weight_decay", 1e39},
        {"training", "gradient_clip_norm", 1e-46},
        {"training", "sample_temperature", 1e-46},
        {"cluster", "timeout_seconds", 1e10},  // beyond 64 bits of nanoseconds
        {"cluster", "startup_timeout_seconds", 1e-9}};
    for (const auto& [section, key, value] : cases) {
        const auto problems = problems_of(with(small_config(), section, key, value));
        ASSERT_EQ(keys_of(problems), std::vector{section + '.' + key}) << value << ": " << only_problem(problems);
        EXPECT_THAT(problems.front().message, HasSubstr("must be "));
    }
    EXPECT_TRUE(problems_of(with(small_config(), "training", "epsilon", 1e-30)).empty());
    EXPECT_TRUE(problems_of(with(small_config(), "training", "gradient_clip_norm", 0)).empty());
}

}  // namespace
}  // namespace smp::testing
