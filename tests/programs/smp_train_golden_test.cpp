// smp_train itself against the runs of an independent GPT-2, as processes and as threads, in every kind of layout.
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using Json = nlohmann::json;

struct Layout {
    int pp, tp, rdp;
};

class SmpTrainGolden : public ::testing::TestWithParam<std::string> {
  protected:
    std::string golden() const { return std::string(SMP_SOURCE_DIR) + "/tests/golden/" + GetParam(); }

    /// The configuration of a reference run. batch_size counts each rank's sequences or, prescaled, each tensor
    /// group's: G is the same.
    std::string config(const Layout& layout, bool prescaled, const std::string& placement) const {
        const Json training = Json::parse(read_text(golden() + "/training.json"));
        const int batch = training["batch"];
        const int ranks_that_count = layout.rdp * (prescaled ? 1 : layout.tp);
        Json config{
            {"model", {{"preset", golden() + "/config.json"}}},
            {"parallel",
             {{"pipeline_parallel_degree", layout.pp},
              {"tensor_parallel_degree", layout.tp},
              {"microbatches", 2},
              {"placement_strategy", placement},
              {"prescaled_batch", prescaled}}},
            {"training",
             {{"steps", training["steps"]},
              {"sequence_length", training["sequence_length"]},
              {"learning_rate", training["max_lr"]},
              {"min_learning_rate", training["min_lr"]},
              {"warmup_steps", training["warmup_steps"]},
              {"beta1", training["beta1"]},
              {"beta2", training["beta2"]},
              {"epsilon", training["eps"]},
              {"weight_decay", training["weight_decay"]},
              {"gradient_clip_norm", training["clip_norm"]},
              {"initial_weights", golden() + "/model.safetensors"}}},
            {"data", {{"train", golden() + "/tokens.bin"}, {"order", "sequential"}}},
        };
        if (batch % ranks_that_count == 0)
            config["training"]["batch_size"] = batch / ranks_that_count;
        else
            config["training"]["global_batch_size"] = batch;
        return config.dump(1);
    }

    void expect_reference(const std::string& metrics) const {
        const Json training = Json::parse(read_text(golden() + "/training.json"));
        const double loss_bound = 10 * training["float32_drift"]["loss"].get<double>();
        std::ifstream stream(metrics);
        std::size_t step = 0;
        for (std::string line; std::getline(stream, line); ++step) {
            const Json record = Json::parse(line);
            ASSERT_LT(step, training["losses"].size());
            EXPECT_NEAR(record["loss"].get<double>(), training["losses"][step].get<double>(), loss_bound)
                << "step " << step + 1;
            EXPECT_NEAR(record["grad_norm"].get<double>(), training["grad_norms"][step].get<double>(), 1e-5)
                << "step " << step + 1;
        }
        EXPECT_EQ(step, training["losses"].size());
    }
};

TEST_P(SmpTrainGolden, EveryLayoutAsProcessesAndAsThreads) {
    const bool odd = GetParam() == "odd";
    const std::vector<Layout> layouts = {{1, 1, 1}, {2, 1, 1}, {odd ? 3 : 4, 1, 1}, {1, 2, 1}, {1, odd ? 3 : 4, 1},
                                         {1, 1, 2}, {2, 2, 1}, {2, 1, 2},           {1, 2, 2}, {2, 2, 2}};
    const Folder folder;
    for (std::size_t index = 0; index < layouts.size(); ++index) {
        const Layout& layout = layouts[index];
        const int ranks = layout.pp * layout.tp * layout.rdp;
        const std::string placement = index % 2 == 0 ? "spread" : "cluster",
                          other = index % 2 == 0 ? "cluster" : "spread";
        SCOPED_TRACE(fmt::format("{} pp {} tp {} rdp {}", GetParam(), layout.pp, layout.tp, layout.rdp));

        const std::string first = folder.write("first.json", config(layout, /*prescaled=*/index % 3 == 0, placement));
        const Outcome processes = run(mpirun(ranks) + program("smp_train") + " --config " + first +
                                      " --resume never --output " + (folder / "processes"));
        ASSERT_EQ(processes.exit_code, 0) << processes.output;
        expect_reference(folder / "processes/metrics.jsonl");

        const std::string second = folder.write("second.json", config(layout, /*prescaled=*/index % 3 != 0, other));
        const Outcome threads = run(fmt::format("{} --config {} --resume never --ranks {} --output {}",
                                                program("smp_train"), second, ranks, folder / "threads"));
        ASSERT_EQ(threads.exit_code, 0) << threads.output;
        expect_reference(folder / "threads/metrics.jsonl");

        // Threads or processes, prescaled or not, one placement or the other: the same text.
        EXPECT_EQ(promised(folder / "threads/metrics.jsonl"), promised(folder / "processes/metrics.jsonl"));
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, SmpTrainGolden, ::testing::Values("tiny", "odd", "untied"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace smp::testing
