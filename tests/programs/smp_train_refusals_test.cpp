// What a user sees who asks for something wrong: one sentence, once, soon, with the right exit code, on any number of
// ranks.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"
#include "tests/steep_weights.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class SmpTrainRefusals : public ::testing::Test {
  protected:
    static std::string golden(const std::string& file) { return std::string(SMP_SOURCE_DIR) + "/tests/golden/" + file; }

    Json config() const {
        return {{"model", {{"preset", golden("tiny/config.json")}}},
                {"parallel", {{"pipeline_parallel_degree", 2}}},
                {"training", {{"steps", 2}, {"sequence_length", 64}, {"global_batch_size", 4}}},
                {"data", {{"train", golden("tiny/tokens.bin")}}}};
    }

    /// Locally and under mpirun: the same sentence, once, and the code.
    void expect_refused(const Json& config, int exit_code, const std::vector<std::string>& parts, int ranks = 2,
                        const std::string& options = "") const {
        const std::string file = folder_.write("job.json", config.dump(1));
        const std::string command =
            fmt::format("{} --config {} --output {} {}", program("smp_train"), file, folder_ / "out", options);
        for (const Outcome& outcome :
             {run(command + fmt::format(" --ranks {}", ranks)), run(mpirun(ranks) + command)}) {
            EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
            EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
            for (const std::string& part : parts) EXPECT_THAT(outcome.output, HasSubstr(part));
        }
    }

    Folder folder_;
};

TEST_F(SmpTrainRefusals, Configuration) {
    auto misspelt = config();
    misspelt["parallel"]["microbatchs"] = 2;
    misspelt["training"]["seed"] = "seven";
    expect_refused(misspelt, 2, {"parallel.microbatchs", "microbatches", "training.seed", "seven"});

    auto heads = config();
    heads["parallel"] = {{"tensor_parallel_degree", 3}};
    expect_refused(heads, 2, {"n_head", "4", "3"}, 3);

    expect_refused(config(), 2, {"3", "pipeline_parallel_degree"}, 3);  // world
}

TEST_F(SmpTrainRefusals, Data) {
    auto missing = config();
    missing["data"]["train"] = folder_ / "nothing.bin";
    expect_refused(missing, 3, {"nothing.bin"});

    auto truncated = config();
    truncated["data"]["train"] = folder_.write("odd.bin", "abc");
    expect_refused(truncated, 3, {"odd.bin"});

    auto outside = config();
    std::string tokens(2000, '\0');
    tokens[1000] = tokens[1001] = '\x7f';
    outside["data"]["train"] = folder_.write("outside.bin", tokens);
    expect_refused(outside, 3, {"outside.bin", "32639", "512"});

    auto brief = config();
    brief["data"]["train"] = folder_.write("brief.bin", std::string(64, '\0'));
    expect_refused(brief, 3, {"brief.bin", "64"});
}

TEST_F(SmpTrainRefusals, TooLittleMemory) {
    auto job = config();
    job["cluster"] = {{"memory_limit_gib", 1e-3}};
    expect_refused(job, 5, {"the job does not fit: a rank of stage ", "cluster.memory_limit_gib allows 1.02 MiB"});

    // A byte less than it takes.
    job.erase("cluster");
    const Outcome outcome = run(fmt::format("{} --config {} --output {}", program("smp_train"),
                                            folder_.write("job.json", job.dump()), folder_ / "whole"));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("memory of a rank of stage 0: "));
    const std::string metrics = read_text(folder_ / "whole/metrics.jsonl");
    const auto peak = Json::parse(metrics.substr(0, metrics.find('\n')))["memory_bytes"].get<double>();
    job["cluster"] = {{"memory_limit_gib", (peak - 1) / (std::int64_t{1} << 30)}};
    expect_refused(job, 5, {"the job does not fit: a rank of stage ", ", and cluster.memory_limit_gib allows "});
}

// The config.json beside them says so first; without one their shapes do.
TEST_F(SmpTrainRefusals, WeightsOfAnotherModel) {
    auto other = config();
    other["training"]["initial_weights"] = golden("odd/model.safetensors");
    expect_refused(other, 3, {"odd/config.json", "vocab_size is 503 there, and model.vocab_size is 512 here"});
    const std::string alone = folder_ / "alone.safetensors";
    std::filesystem::copy_file(golden("odd/model.safetensors"), alone);
    other["training"]["initial_weights"] = alone;
    other["model"]["n_layer"] = 6;  // as many as there, so that no layer is left over
    expect_refused(other, 3, {"wte.weight", "503", "512"});
}

TEST_F(SmpTrainRefusals, GradientsThatAreNotFinite) {
    auto steep = config();
    steep["model"] = {{"n_layer", 4},
                      {"n_head", 4},
                      {"n_embd", 32},
                      {"n_positions", 64},
                      {"vocab_size", 512},
                      {"layer_norm_epsilon", 1.2e-38},
                      {"tie_word_embeddings", false}};
    steep["training"]["initial_weights"] = folder_ / "steep.safetensors";
    write_steep_weights(folder_ / "steep.safetensors", 4, 32, 64, 512);
    expect_refused(steep, 2, {"step 1: the gradients are not finite", "the gradient of h.", "(module h.", " on rank "});
}

TEST_F(SmpTrainRefusals, ARankWithAnotherConfigurationIsNamed) {
    const std::string first = folder_.write("first.json", config().dump());
    auto changed = config();
    changed["training"]["seed"] = 2;
    const std::string second = folder_.write("second.json", changed.dump());
    const auto side = [&](const std::string& file) {
        return fmt::format("-np 1 {} --config {} --output {}", program("smp_train"), file, folder_ / "out");
    };
    const std::string launcher = mpirun(1);
    const Outcome outcome = run(launcher.substr(0, launcher.find("-np")) + side(first) + " : " + side(second));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("rank 1"));
    EXPECT_THAT(outcome.output, HasSubstr("training.seed"));
}

// One bit of the build id, as another build has another.
TEST_F(SmpTrainRefusals, ARankOfAnotherBuildIsNamed) {
    std::string bytes = read_text(program("smp_train"));
    const std::string note("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16);
    const auto at = bytes.find(note);
    ASSERT_NE(at, std::string::npos);
    bytes[at + note.size()] ^= 1;
    const std::string other = folder_.write("other_build", bytes);
    std::filesystem::permissions(other, std::filesystem::perms::owner_all);
    const std::string file = folder_.write("job.json", config().dump());
    const auto side = [&](const std::string& binary) {
        return fmt::format("-np 1 {} --config {} --output {}", binary, file, folder_ / "out");
    };
    const std::string launcher = mpirun(1);
    const Outcome outcome =
        run(launcher.substr(0, launcher.find("-np")) + side(program("smp_train")) + " : " + side(other));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("rank 1 (host "));
    EXPECT_THAT(outcome.output, HasSubstr("another build of the program than rank 0"));
}

TEST_F(SmpTrainRefusals, UsageAndOutputDirectory) {
    EXPECT_EQ(run(program("smp_train")).exit_code, 2);
    EXPECT_EQ(run(program("smp_train") + " --confg x").exit_code, 2);
    EXPECT_EQ(run(program("smp_train") + " --help").exit_code, 0);
    EXPECT_THAT(run(program("smp_train") + " --version").output, HasSubstr("LibTorch"));
    const std::string file = folder_.write("job.json", config().dump());
    const std::string blocked = folder_.write("blocked", "a file where a directory should be");
    const Outcome outcome = run(fmt::format("{} --config {} --output {}", program("smp_train"), file, blocked));
    EXPECT_EQ(outcome.exit_code, 3);
    EXPECT_THAT(outcome.output, HasSubstr(blocked));
}

}  // namespace
}  // namespace smp::testing
