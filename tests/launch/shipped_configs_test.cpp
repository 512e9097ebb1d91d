// The configurations that come with the project load as they are.
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"

namespace smp::testing {
namespace {

TEST(ShippedConfigs, AllLoadWithoutNotesAndNameFilesThatAreThere) {
    int files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::filesystem::path(SMP_SOURCE_DIR) / "configs")) {
        if (entry.path().extension() != ".json") continue;
        ++files;
        SCOPED_TRACE(entry.path());
        const launch::Config config = launch::load_config(entry.path(), {});
        EXPECT_TRUE(config.notes.empty());
        EXPECT_TRUE(std::filesystem::is_regular_file(config.data.train)) << config.data.train;
    }
    EXPECT_GE(files, 8);
}

TEST(ShippedConfigs, QuickstartIsFourRanksOverBytes) {
    const launch::Config config =
        launch::load_config(std::filesystem::path(SMP_SOURCE_DIR) / "configs/quickstart.json", {});
    EXPECT_EQ(config.world(), 4);
    EXPECT_EQ(config.parallel.pipeline_parallel_degree, 2);
    EXPECT_EQ(config.parallel.tensor_parallel_degree, 2);
    EXPECT_EQ(config.gpt2.vocab_size, 256);
    EXPECT_GT(config.training.sample_tokens, 0);
}

}  // namespace
}  // namespace smp::testing
