// The `parameters` of a SageMaker job can be pasted as they are: what changes nothing is noted, what does not exist is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

TEST(PastedBlock, LoadsWithANoteForWhatChangesNothing) {
    Json config = small_config();
    config["training"] = {{"steps", 10}, {"batch_size", 8}};
    config["parallel"] = Json::parse(R"({
        "partitions": 2, "microbatches": 4, "placement_strategy": "spread", "pipeline": "interleaved", "optimize": "speed",
        "auto_partition": true, "default_partition": 0, "memory_weight": 0.5, "prescaled_batch": true, "ddp": true,
        "tensor_parallel_degree": 2, "ddp_dist_backend": "auto", "skip_tracing": true, "delayed_parameter_initialization": true,
        "deterministic_server": false, "horovod": false, "fp16": true, "shard_optimizer_state": false,
        "offload_activations": false, "activation_loading_horizon": 4
    })");
    const launch::Config loaded = load(config);
    EXPECT_EQ(loaded.parallel.pipeline_parallel_degree, 2);
    EXPECT_EQ(loaded.parallel.placement_strategy, "spread");
    EXPECT_TRUE(loaded.parallel.prescaled_batch);
    EXPECT_EQ(partition::precision_of(loaded.parallel), partition::Precision::fp16);
    EXPECT_THAT(loaded.notes,
                UnorderedElementsAre(
                    HasSubstr("parallel.default_partition = 0"), HasSubstr("parallel.ddp = true"),
                    HasSubstr("parallel.ddp_dist_backend = \"auto\""), HasSubstr("parallel.skip_tracing = true"),
                    HasSubstr("parallel.delayed_parameter_initialization = true"),
                    HasSubstr("parallel.deterministic_server = false"), HasSubstr("parallel.horovod = false")));
    for (const std::string& note : loaded.notes) EXPECT_THAT(note, HasSubstr("changes nothing: "));
    EXPECT_EQ(launch::to_json(loaded).find("ddp"), std::string::npos);
}

TEST(PastedBlock, WhatDoesNotExistHereSaysWhatToUse) {
    const auto refused = [](const std::string& key, const Json& value) {
        return only_problem(problems_of(with(small_config(), "parallel", key, value)));
    };
    EXPECT_THAT(refused("horovod", true),
                AllOf(HasSubstr("parallel.horovod = true: must be false"), HasSubstr("mpirun")));
    EXPECT_THAT(refused("ddp_dist_backend", "smddp"), AllOf(HasSubstr("= \"smddp\""), HasSubstr("cluster.device")));
    EXPECT_THAT(refused("sharded_data_parallel_degree", 8), HasSubstr("parallel.shard_optimizer_state"));
    EXPECT_THAT(refused("default_partition", -1), HasSubstr("0 or more"));
    EXPECT_THAT(refused("ddp", "yes"), HasSubstr("true or false"));
    EXPECT_THAT(refused("fp16_params", true), HasSubstr("set parallel.fp16 = true"));
    EXPECT_THAT(refused("contiguous", false), HasSubstr("parallel.virtual_pipeline_degree"));
    EXPECT_THAT(refused("sm_activation_offloading", true), HasSubstr("parallel.offload_activations = true"));
    EXPECT_THAT(refused("hybrid_shard_degree", 8), HasSubstr("parallel.shard_optimizer_state"));
    EXPECT_THAT(refused("expert_parallel_degree", 2), HasSubstr("must be 1"));
}

TEST(PastedBlock, KeysOfAllVersionsAreKnown) {
    Json config = small_config();
    config["parallel"] = Json::parse(R"({
        "fp16_params": false, "contiguous": true, "fast_mode": true, "static_mode": true,
        "sharded_data_parallel_degree": 1, "sdp_reduce_bucket_size": 5e8, "sdp_param_persistence_threshold": 1e6,
        "sdp_max_live_parameters": 1e9, "sdp_hierarchical_allgather": true, "sdp_gradient_clipping": 1.0,
        "hybrid_shard_degree": 1, "sm_activation_offloading": false, "expert_parallel_degree": 1,
        "context_parallel_degree": 1
    })");
    const launch::Config loaded = load(config);
    EXPECT_EQ(loaded.notes.size(), config["parallel"].size());
    EXPECT_EQ(loaded.parallel, load(small_config()).parallel);
}

TEST(PastedBlock, ADefaultPartitionWithoutAutoPartitionNeedsLayers) {
    Json config = with(small_config(), "parallel", "partitions", 2);
    config["parallel"]["auto_partition"] = false;
    config["parallel"]["default_partition"] = 0;
    EXPECT_THAT(only_problem(problems_of(config)),
                AllOf(HasSubstr("parallel.stage_layers"), HasSubstr("default_partition has nothing to add to")));
    config["parallel"]["stage_layers"] = {1, 3};
    EXPECT_THAT(load(config).notes, ::testing::ElementsAre(HasSubstr("parallel.default_partition = 0")));
}

TEST(PastedBlock, WhatIsStillToComeSaysNotYetAndTakesItsOffValue) {
    struct Case {
        std::string section, key;
        Json on, off;
    };
    const std::vector<Case> cases = {{"cluster", "device_kind", "h100", nullptr}};
    for (const auto& [section, key, on, off] : cases) {
        const auto problems = problems_of(with(small_config(), section, key, on));
        EXPECT_THAT(only_problem(problems), AllOf(HasSubstr(section + '.' + key + " = " + on.dump()),
                                                  HasSubstr("not yet"), HasSubstr("set it to ")));
        EXPECT_TRUE(problems_of(with(small_config(), section, key, off)).empty()) << key;
        EXPECT_EQ(Json::parse(launch::to_json(load(small_config())))[section][key], off) << key;
    }
}

}  // namespace
}  // namespace smp::testing
