#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/variants.h"
#include "partition/job/problem.h"
#include "tests/launch/small_config.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;

std::string refusal(const std::function<void()>& body) {
    try {
        body();
        return "";
    } catch (const partition::ConfigError& error) {
        return error.what();
    }
}

std::vector<std::string> names_of(const std::vector<Variant>& variants) {
    std::vector<std::string> names;
    for (const Variant& variant : variants) names.push_back(variant.name);
    return names;
}

TEST(BenchVariants, ASweepIsAnOverrideAValue) {
    EXPECT_THAT(overrides_of_sweep("parallel.microbatches=1,2"),
                ElementsAre("parallel.microbatches=1", "parallel.microbatches=2"));
    EXPECT_THAT(overrides_of_sweep("parallel.stage_layers=[3,5],[4,4]"),
                ElementsAre("parallel.stage_layers=[3,5]", "parallel.stage_layers=[4,4]"));
    EXPECT_THAT(overrides_of_sweep(R"(training.sample_prompt="a,b","c\",")"),
                ElementsAre(R"(training.sample_prompt="a,b")", R"(training.sample_prompt="c\",")"));
    EXPECT_THAT(overrides_of_sweep("data.train=a=b"), ElementsAre("data.train=a=b"));
}

TEST(BenchVariants, WhatIsNoSweepIsRefused) {
    for (const char* sweep : {"microbatches=1,2", "parallel.microbatches", "=1", "parallel.microbatches=1,,2",
                              "parallel.microbatches=", "parallel.microbatches=1,1", "parallel.stage_layers=[3,5",
                              "parallel.stage_layers=3]", "training.sample_prompt=\"a"})
        EXPECT_THAT(refusal([&] { overrides_of_sweep(sweep); }), HasSubstr("--sweep \"" + std::string(sweep))) << sweep;
    EXPECT_THAT(refusal([] { overrides_of_sweep("parallel.microbatches=1,1"); }), HasSubstr("the value 1 twice"));
}

TEST(BenchVariants, SeveralSweepsAreEveryCombination) {
    const auto variants = variants_of({"parallel.microbatches=2,4", "parallel.pipeline=simple,interleaved"}, {});
    EXPECT_THAT(names_of(variants),
                ElementsAre("microbatches=2, pipeline=simple", "microbatches=2, pipeline=interleaved",
                            "microbatches=4, pipeline=simple", "microbatches=4, pipeline=interleaved"));
    EXPECT_THAT(variants[2].sets, ElementsAre("parallel.microbatches=4", "parallel.pipeline=simple"));
    EXPECT_THAT(names_of(variants_of({}, {})), ElementsAre("as configured"));
    std::string many = "training.seed=0";
    for (int i = 1; i < 40; ++i) many += fmt::format(",{}", i);
    EXPECT_THAT(refusal([&] { variants_of({many, many}, {}); }), HasSubstr("more than 1000 configurations"));
}

TEST(BenchVariants, AFileOfOverridesIsAConfigurationBesideOthers) {
    const ScratchFolder folder;
    const auto deep = folder.write("deep.json", R"({"parallel": {"pipeline_parallel_degree": 2, "stage_layers": [3, 1]},
                                                    "training": {"sample_prompt": "a, b"}})");
    const auto wide = folder.write("wide.json", R"({"parallel": {"tensor_parallel_degree": 2}})");
    const auto variants = variants_of({"parallel.microbatches=2,4"}, {deep, wide});
    EXPECT_THAT(names_of(variants), ElementsAre("deep, microbatches=2", "deep, microbatches=4", "wide, microbatches=2",
                                                "wide, microbatches=4"));
    EXPECT_THAT(variants[0].sets, ElementsAre("parallel.pipeline_parallel_degree=2", "parallel.stage_layers=[3,1]",
                                              "training.sample_prompt=\"a, b\"", "parallel.microbatches=2"));
    const auto flat = folder.write("flat.json", R"({"parallel": 2})");
    EXPECT_THAT(refusal([&] { variants_of({}, {flat}); }), HasSubstr("must be an object with keys"));
}

/// All at once, and before anything is measured.
TEST(BenchVariants, UnknownKeysAreNamedWithTheNearestOnes) {
    const ScratchFolder folder;
    const auto job = folder.write("job.json", testing::small_config().dump());
    const auto variants = variants_of({"parallel.micro_batches=1,2", "paralel.pipeline=simple"}, {});
    const std::string why = refusal([&] { require_known_keys(job, {"training.stepz=1"}, variants); });
    EXPECT_THAT(why, HasSubstr("--set: training.stepz is no key; did you mean training.steps?"));
    EXPECT_THAT(why, HasSubstr("--sweep or --overrides: parallel.micro_batches is no key; did you mean "
                               "parallel.microbatches?"));
    EXPECT_THAT(why, HasSubstr("paralel is no section"));
    EXPECT_EQ(std::count(why.begin(), why.end(), '\n'), 2) << why;
    EXPECT_EQ(refusal([&] { require_known_keys(job, {}, variants_of({"parallel.microbatches=1,2"}, {})); }), "");
}

}  // namespace
}  // namespace smp::launch
