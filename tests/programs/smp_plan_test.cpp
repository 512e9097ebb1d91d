// smp_plan as users run it. If these fail, what it says is not what smp_train does, or its output cannot be used.
#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/foresight/durations.h"
#include "runtime/records/plan_json.h"
#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

Outcome smp_plan(const std::string& arguments) { return run(program("smp_plan") + " " + arguments); }

std::string in_repository(const std::string& path) { return std::string(SMP_SOURCE_DIR) + "/" + path; }

/// Names a data file that is not there: nobody opens it.
class SmpPlan : public ::testing::Test {
  protected:
    std::string job(const Json& parallel) const {
        return folder_.write("job.json",
                             Json{{"model", {{"n_layer", 8}, {"n_head", 4}, {"n_embd", 32}, {"n_positions", 32}}},
                                  {"parallel", parallel},
                                  {"training", {{"steps", 4}, {"global_batch_size", 48}}},
                                  {"data", {{"train", "nowhere/nothing.bin"}}}}
                                 .dump());
    }
    Json json_of(const std::string& arguments) const {
        const Outcome outcome = smp_plan(arguments + " --format json");
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        return Json::parse(outcome.output);
    }

    Folder folder_;
};

/// Of a plan's JSON.
int world_of(const Json& plan) {
    const Json& degrees = plan["topology"]["degrees"];
    return degrees["pipeline"].get<int>() * degrees["tensor"].get<int>() * degrees["reduced_data"].get<int>();
}

std::vector<std::string> shipped_configs() {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(in_repository("configs")))
        if (entry.path().extension() == ".json") files.push_back(entry.path().string());
    return files;
}

/// Small jobs of every schedule; the same keys beside "--set".
const std::vector<Json> kJobs = {
    {{"microbatches", 3}},
    {{"pipeline_parallel_degree", 4}, {"microbatches", 8}, {"pipeline", "simple"}},
    {{"pipeline_parallel_degree", 4}, {"microbatches", 6}, {"active_microbatches", 3}},
    {{"pipeline_parallel_degree", 2}, {"tensor_parallel_degree", 2}, {"microbatches", 8}, {"pipeline", "zero_bubble"}},
    {{"pipeline_parallel_degree", 2}, {"virtual_pipeline_degree", 3}, {"microbatches", 8}},
    {{"pipeline_parallel_degree", 2}, {"tensor_parallel_degree", 2}, {"microbatches", 8}, {"optimize", "memory"}},
};

TEST_F(SmpPlan, EveryFormatOfEveryShippedConfiguration) {
    const auto files = shipped_configs();
    EXPECT_GE(files.size(), 2U);
    for (const std::string& file : files) {
        SCOPED_TRACE(file);
        for (const char* options : {"", "--format text", "--format json", "--format summary", "--format trace",
                                    "--format schedule", "--format svg", "--check"}) {
            const Outcome outcome = smp_plan(fmt::format("--config {} {}", file, options));
            EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
            EXPECT_EQ(outcome.count("error"), 0) << outcome.output;
        }
    }
}

TEST_F(SmpPlan, JsonIsThePlanThatTheTrainerMakes) {
    const std::string text = folder_.write("text.txt", std::string(10000, 'a'));
    for (const Json& parallel : kJobs) {
        SCOPED_TRACE(parallel.dump());
        const std::string arguments = fmt::format("--config {} --set data.train={}", job(parallel), text);
        const Json json = json_of(arguments);
        EXPECT_EQ(json["version"], 1);
        const Outcome trainer = run(fmt::format("{} {} --dry-run", program("smp_train"), arguments));
        ASSERT_EQ(trainer.exit_code, 0) << trainer.output;
        EXPECT_THAT(trainer.output, HasSubstr("plan     | " + json["plan"]["hash"].get<std::string>() + "\n"));
    }
}

// Over two tensor ranks: of a layer's 16 tensors of [tokens, width] for one rank, 8 instead of 10 on each; half of the
// head's; messages half as long. Beside them a layer has four vectors of [tokens] and one of them for each head.
//
// A module's stash leaves its input out: of a token of width 32 a layer keeps 9·32 + 4 + 2 floats (four heads over two
// ranks), or (1.5 + 6)·32 + 2 + 2. But stage 0 begins with the embedding, so that the inputs of all its layers are made
// in its chunk and count there: 32 more of each layer, or 16. The head's input is a boundary on stage 1.
TEST_F(SmpPlan, OptimizingForMemorySparesActivationsAndMessages) {
    const std::string config = fmt::format("--config {} --set model.tie_word_embeddings=false", job(kJobs[5]));
    const Json memory = json_of(config), speed = json_of(config + " --set parallel.optimize=speed");
    const auto bytes = [](const Json& json, int stage, const char* category) {
        return json["prediction"]["stages"][stage]["peak_bytes_by_category"][category].get<double>();
    };
    for (const int stage : {0, 1}) {
        EXPECT_EQ(2 * bytes(memory, stage, "boundaries"), bytes(speed, stage, "boundaries"));
        EXPECT_EQ(bytes(memory, stage, "parameters"), bytes(speed, stage, "parameters"));
    }
    EXPECT_EQ(json_of(config)["chunks"][0]["layers"], 8);
    EXPECT_EQ(bytes(memory, 0, "activations") / bytes(speed, 0, "activations"), (8 * 32 + 2 + 2.0) / (10 * 32 + 4 + 2));
    EXPECT_EQ(2 * bytes(memory, 1, "activations"), bytes(speed, 1, "activations"));

    // Checkpointed, one layer's are there at once: the largest are the first's, in one group with the embedding.
    const std::string each = config + " --set parallel.activation_checkpointing=each";
    const Json again = json_of(each), speed_again = json_of(each + " --set parallel.optimize=speed");
    EXPECT_GT(bytes(again, 0, "checkpoints"), 0);
    EXPECT_EQ(2 * bytes(again, 0, "checkpoints"), bytes(speed_again, 0, "checkpoints"));
    EXPECT_EQ(bytes(again, 0, "activations") / bytes(speed_again, 0, "activations"),
              (8 * 32 + 2 + 2.0) / (10 * 32 + 4 + 2));
    EXPECT_EQ(2 * bytes(again, 1, "activations"), bytes(speed_again, 1, "activations"));

    const std::string offloaded = each +
                                  " --set parallel.offload_activations=true"
                                  " --set parallel.activation_loading_horizon=2";
    const Json host = json_of(offloaded), speed_host = json_of(offloaded + " --set parallel.optimize=speed");
    EXPECT_GT(bytes(host, 0, "offloaded"), 0);
    EXPECT_EQ(2 * bytes(host, 0, "offloaded"), bytes(speed_host, 0, "offloaded"));
}

TEST_F(SmpPlan, JsonHoldsLayoutCostsAndPrediction) {
    const Json json = json_of("--config " + job(kJobs[4]));
    const Json& plan = json["plan"];
    EXPECT_EQ(plan["topology"]["degrees"], Json({{"pipeline", 2}, {"tensor", 1}, {"reduced_data", 1}}));
    EXPECT_EQ(plan["schedule"], "interleaved");
    EXPECT_EQ(plan["active_microbatches"], 4);
    EXPECT_EQ(plan["chunks"].size(), 6U);
    EXPECT_EQ(json["chunks"].size(), 6U);
    EXPECT_EQ(plan["chunks"][0]["first_module"], 0);
    EXPECT_EQ(plan["model"]["modules"][0]["name"], "wte");
    EXPECT_EQ(plan["training"].size(), 2U);
    int layers = 0;
    for (const Json& chunk : json["chunks"]) layers += chunk["layers"].get<int>();
    EXPECT_EQ(layers, 8);

    const Json& prediction = json["prediction"];
    ASSERT_EQ(prediction["stages"].size(), 2U);
    const double step = prediction["step_seconds"];
    EXPECT_GT(step, 0);
    EXPECT_GT(prediction["bubble"], 0);
    for (const Json& stage : prediction["stages"]) {
        EXPECT_NEAR(stage["compute_seconds"].get<double>() + stage["exposed_seconds"].get<double>() +
                        stage["bubble_seconds"].get<double>(),
                    step, 1e-12 * step);
        const Json& bytes = stage["peak_bytes_by_category"];
        for (const char* category : {"parameters", "gradients", "optimizer", "activations", "boundaries"})
            EXPECT_GT(bytes[category], 0) << category;
        EXPECT_EQ(bytes["optimizer"].get<double>(), 2 * bytes["parameters"].get<double>());
        EXPECT_GE(stage["peak_bytes"].get<double>(),
                  bytes["activations"].get<double>() + bytes["parameters"].get<double>() +
                      bytes["gradients"].get<double>() + bytes["optimizer"].get<double>());
    }
    int rates = 0;
    partition::for_each_field<partition::Rates>([&](const auto& field) {
        EXPECT_GT(json["rates"][std::string(field.name)], 0) << field.name;
        ++rates;
    });
    EXPECT_EQ(static_cast<int>(json["rates"].size()), rates);
    EXPECT_TRUE(json["rates"].contains("copy_bytes_per_second"));
    EXPECT_TRUE(json["warnings"].is_array());
}

TEST_F(SmpPlan, RanksAreThoseAskedForOrThoseStated) {
    const std::string file = job({{"pipeline_parallel_degree", 2}, {"microbatches", 4}});
    const auto plan_of = [&](const std::string& options) { return json_of("--config " + file + options)["plan"]; };
    EXPECT_EQ(world_of(plan_of("")), 2);
    EXPECT_EQ(plan_of(" --ranks 6")["topology"]["degrees"]["reduced_data"], 3);
    EXPECT_EQ(world_of(plan_of(" --set cluster.nodes=2 --set cluster.devices_per_node=4")), 8);
}

TEST_F(SmpPlan, OneValueMayHoldCommas) {
    const std::string file = job({{"pipeline_parallel_degree", 2}, {"microbatches", 4}});
    const Json json =
        json_of("--config " + file + " --set parallel.auto_partition=false --set 'parallel.stage_layers=[3,5]'");
    EXPECT_EQ(json["chunks"][0]["layers"], 3);
    EXPECT_EQ(json["chunks"][1]["layers"], 5);
}

TEST_F(SmpPlan, TraceHasEveryActionOnceAndNoTwoAtATimeOnATrack) {
    for (const Json& parallel : kJobs) {
        SCOPED_TRACE(parallel.dump());
        const std::string arguments = "--config " + job(parallel);
        std::vector<std::multiset<std::string>> expected;
        const Json plan = json_of(arguments)["plan"];
        std::istringstream text(plan.dump());
        for (const auto& program : runtime::plan_from_json(text, "plan").plan.training) {
            auto& names = expected.emplace_back();
            for (const partition::Action& action : program.actions) names.insert(partition::name_of(action));
        }
        const Outcome outcome = smp_plan(arguments + " --format trace");
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        const Json trace = Json::parse(outcome.output);
        EXPECT_EQ(trace["otherData"]["plan"], plan["hash"]);
        std::vector<std::multiset<std::string>> drawn(expected.size());
        std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> spans;
        std::map<std::pair<int, int>, std::string> threads;
        for (const Json& event : trace["traceEvents"]) {
            const std::pair<int, int> thread{event["pid"], event["tid"]};
            if (event["name"] == "process_name") {
                EXPECT_EQ(event["args"]["name"], fmt::format("stage {}", thread.first));
            }
            if (event["name"] == "thread_name") threads[thread] = event["args"]["name"];
            if (event["ph"] != "X") continue;
            drawn.at(static_cast<std::size_t>(thread.first)).insert(event["name"].get<std::string>());
            spans[thread].push_back({event["ts"], event["ts"].get<double>() + event["dur"].get<double>()});
            const bool is_forward = event["name"].get<std::string>().starts_with("F mb");
            EXPECT_EQ(is_forward, event["cat"] == "forward");
            EXPECT_TRUE(!is_forward || threads.at(thread) == "compute");
        }
        EXPECT_EQ(drawn, expected);
        for (auto& [thread, list] : spans) {
            std::sort(list.begin(), list.end());
            for (std::size_t i = 1; i < list.size(); ++i)
                EXPECT_LE(list[i - 1].second, list[i].first + 1e-6) << threads.at(thread);
        }
    }
}

TEST_F(SmpPlan, DiagramOfFourStages) {
    const std::string file = job({{"pipeline_parallel_degree", 4}, {"microbatches", 8}, {"active_microbatches", 4}});
    const Outcome outcome = smp_plan("--config " + file + " --format schedule");
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.output, R"(interleaved on 4 stages: 8 microbatches, at most 4 active
  0     forward of microbatch 0, one tick
  [0 ]  its backward, two ticks
  .     idle; messages, reductions and the optimizer take no time here

tick     0                   10                  20                  30
stage 0  0 1 2 3 ............[0 ]4 [1 ]5 [2 ]6 [3 ]7 [4 ]..[5 ]..[6 ]..[7 ]
stage 1  ..0 1 2 ........[0 ]3 [1 ]4 [2 ]5 [3 ]6 [4 ]7 [5 ]..[6 ]..[7 ]....
stage 2  ....0 1 ....[0 ]2 [1 ]3 [2 ]4 [3 ]5 [4 ]6 [5 ]7 [6 ]..[7 ]........
stage 3  ......0 [0 ]1 [1 ]2 [2 ]3 [3 ]4 [4 ]5 [5 ]6 [6 ]7 [7 ]............

33 ticks; idle time over work (bubble): 37.5 %
)");
}

TEST_F(SmpPlan, DiagramOfEightStagesAndFortyMicrobatchesFitsATerminal) {
    const std::string file = job({{"pipeline_parallel_degree", 8}, {"microbatches", 40}, {"active_microbatches", 8}});
    for (const char* schedule : {"interleaved", "zero_bubble"}) {
        const Outcome outcome = smp_plan(
            fmt::format("--config {} --set training.global_batch_size=40 --set parallel.pipeline={} --format schedule",
                        file, schedule));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        std::istringstream lines(outcome.output);
        int rows = 0;
        for (std::string line; std::getline(lines, line);) {
            EXPECT_LE(line.size(), 120U);
            ++rows;
        }
        EXPECT_LE(rows, 80);
        EXPECT_THAT(outcome.output, Not(HasSubstr("The first")));  // nothing is cut
        for (int microbatch = 0; microbatch < 40; ++microbatch) {
            const std::string backward = fmt::format("{}{}", schedule[0] == 'i' ? '[' : '(', microbatch);
            EXPECT_GE(outcome.count(backward), 8) << backward;
        }
    }
}

TEST_F(SmpPlan, TextSaysWhatAPersonWantsToKnow) {
    const Outcome outcome = smp_plan("--config " + job(kJobs[3]) + " --ranks 8 --set cluster.nodes=8");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    for (const char* part :
         {"8 = 2 pipeline x 2 tensor x 2 data, placement DPT, on 8 nodes of 1", "tensor 0, 1 (nodes 0, 1)",
          "zero_bubble", "at most 3 microbatches active (K = 4)", "BI  BW", "optimizer", "deferred", "a step takes",
          "a guess", "proven", "warning: tensor parallelism leaves the node"})
        EXPECT_THAT(outcome.output, HasSubstr(part)) << outcome.output;
    EXPECT_THAT(outcome.output, ContainsRegex("plan     \\| [0-9a-f]{16}\n"));
    EXPECT_THAT(smp_plan("--config " + job(kJobs[2])).output, HasSubstr("p/K - 1 = 33 %"));
    EXPECT_THAT(smp_plan("--config " + job(kJobs[0]) + " --set training.deterministic=true").output,
                HasSubstr("note: training.deterministic"));
}

TEST_F(SmpPlan, TheTrainerWarnsToo) {
    const std::string text = folder_.write("text.txt", std::string(10000, 'a'));
    const std::string arguments =
        fmt::format("--config {} --set data.train={} --set training.steps=1", job(kJobs[2]), text);
    const Outcome trainer = run(fmt::format("{} {} --output {}", program("smp_train"), arguments, folder_ / "out"));
    EXPECT_EQ(trainer.exit_code, 0) << trainer.output;
    for (const Json& warning : json_of(arguments)["warnings"])
        EXPECT_THAT(trainer.output, HasSubstr("warning: " + warning.get<std::string>()));
    EXPECT_THAT(trainer.output, HasSubstr("warning: parallel.active_microbatches = 3 cannot keep 4 stages busy"));
}

TEST_F(SmpPlan, CheckSaysWhatIsProven) {
    for (const Json& parallel : kJobs) {
        const std::string arguments = "--config " + job(parallel);
        std::size_t actions = 0, stages = 0;
        int messages = 0;
        const Json plan = json_of(arguments)["plan"];
        for (const char* part : {"training", "evaluation", "sampling"}) {
            stages = plan[part].size();
            for (const Json& program : plan[part]) {
                actions += program["actions"].size();
                for (const Json& action : program["actions"]) messages += action["kind"] == "send" ? 1 : 0;
            }
        }
        const Outcome outcome = smp_plan(arguments + " --check");
        EXPECT_EQ(outcome.exit_code, 0);
        EXPECT_EQ(outcome.count("\n"), 1 + outcome.count("warning: ")) << outcome.output;
        EXPECT_THAT(outcome.output, StartsWith("proven"));
        EXPECT_THAT(outcome.output, HasSubstr(fmt::format("{} stage{}, {} actions, {} messages", stages,
                                                          stages == 1 ? "" : "s", actions, messages)));
    }
}

TEST_F(SmpPlan, RefusalsAreSentencesWithExitCode2) {
    const std::string file = job(kJobs[1]);
    const auto refused = [](const std::string& arguments, const std::string& part) {
        const Outcome outcome = smp_plan(arguments);
        EXPECT_EQ(outcome.exit_code, 2) << arguments;
        EXPECT_THAT(outcome.output, StartsWith("smp_plan: error: "));
        EXPECT_THAT(outcome.output, HasSubstr(part));
        EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
    };
    const std::string config = "--config " + file;
    refused("", "--config is missing");
    refused("--config nothing.json", "nothing.json");
    refused(config + " --set parallel.microbatchs=2", "microbatches");
    refused(config + " --set parallel.pipeline=gpipe", "zero_bubble");
    refused(config + " --ranks 3", "multiple of 4 ranks");
    refused(config + " --ranks 0", "--ranks is 0");
    refused(config + " --ranks many", "many");
    refused(config + " --format yaml", "--format is \"yaml\"; allowed are text, json, summary, trace, schedule, svg");
    refused(config + " --check --format json", "--format has no place beside --check");
    refused(config + " --plan plan.json", "--config has no place beside --plan");
    refused("--plan plan.json --ranks 4", "--ranks has no place beside --plan");
    refused("--plan plan.json --set parallel.microbatches=4", "--set has no place beside --plan");
    refused(config + " --search", "--search is not yet available");
    refused(config + " --fix parallel.microbatches=8", "--fix is not yet available");
    refused(config + " --write 1", "--write is not yet available");
    refused(config + " trace", "trace is no option of smp_plan");
    refused(config + " --dry-run", "dry-run");
    refused(config + " --set parallel.virtual_pipeline_degree=2", "set parallel.pipeline = \"interleaved\"");
    refused(config + " --set parallel.pipeline_parallel_degree=16 --set parallel.microbatches=16", "8 layers");
}

TEST_F(SmpPlan, SummaryIsTheJsonWithoutActions) {
    const std::string arguments = "--config " + job(kJobs[3]);
    Json json = json_of(arguments);
    const Outcome outcome = smp_plan(arguments + " --format summary");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    for (const char* part : {"training", "evaluation", "sampling", "model"}) json["plan"].erase(part);
    EXPECT_EQ(Json::parse(outcome.output), json);
    EXPECT_LT(outcome.output.size(), 10'000U);
}

// What a run leaves is what was planned for it, to the byte, and says as much of it as the job did.
TEST_F(SmpPlan, APlanThatARunHasLeftIsProvenPricedAndDrawn) {
    const std::string text = folder_.write("text.txt", std::string(10000, 'a'));
    for (const Json& parallel : {kJobs[2], kJobs[3]}) {
        SCOPED_TRACE(parallel.dump());
        const std::string arguments =
            fmt::format("--config {} --set data.train={} --set training.steps=1", job(parallel), text);
        const std::string output = folder_ / (parallel.contains("tensor_parallel_degree") ? "tensor" : "pipeline");
        const Outcome trainer = run(fmt::format("{} {} --output {}", program("smp_train"), arguments, output));
        ASSERT_EQ(trainer.exit_code, 0) << trainer.output;
        const std::string file = output + "/plan.json";
        for (const char* format : {"--check", "--format trace", "--format schedule", "--format svg"}) {
            const Outcome outcome = smp_plan(fmt::format("--plan {} {}", file, format));
            EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
            // Warnings are about options, which a saved plan has not.
            const std::string of_job = smp_plan(fmt::format("{} {}", arguments, format)).output;
            EXPECT_EQ(outcome.output, of_job.substr(0, of_job.find("warning: ")));
        }
        Json of_job = json_of(arguments), of_plan = json_of("--plan " + file);
        EXPECT_EQ(of_plan["plan"], Json::parse(read_text(file)));
        EXPECT_THAT(of_plan["notes"].dump(), HasSubstr("holds a plan and no job"));
        for (const char* of_options : {"notes", "warnings"}) {
            of_job.erase(of_options);
            of_plan.erase(of_options);
        }
        EXPECT_EQ(of_plan, of_job);
        const Outcome text_outcome = smp_plan("--plan " + file);
        EXPECT_EQ(text_outcome.exit_code, 0) << text_outcome.output;
        for (const char* part :
             {"8 layers among 10 modules", "Peak memory of a rank", "a step takes", "proven", "note: "})
            EXPECT_THAT(text_outcome.output, HasSubstr(part));
        EXPECT_THAT(text_outcome.output, HasSubstr("plan     | " + of_job["plan"]["hash"].get<std::string>()));
    }
}

TEST_F(SmpPlan, ASavedPlanThatIsDamagedIsASentenceWithExitCode3) {
    const std::string text = json_of("--config " + job(kJobs[2]))["plan"].dump();
    const auto refused = [&](const std::string& content, const std::string& part) {
        for (const char* options : {"", " --check", " --format schedule"}) {
            const Outcome outcome = smp_plan(fmt::format("--plan {}{}", folder_.write("plan.json", content), options));
            EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
            EXPECT_THAT(outcome.output, StartsWith("smp_plan: error: " + (folder_ / "plan.json") + ":"));
            EXPECT_THAT(outcome.output, HasSubstr(part));
        }
    };
    const auto with = [&](const auto& change) {
        Json json = Json::parse(text);
        change(json);
        return json.dump();
    };
    refused("", "not JSON");
    refused(text.substr(0, text.size() / 3), "not JSON, or not all of it");
    refused(with([](Json& plan) { plan["training"][0]["actions"].erase(3); }), "its actions make it");
    refused(with([](Json& plan) { plan["microbatches"] = 7; }), "was changed after it was written");
    refused(with([](Json& plan) { plan["version"] = 3; }), "a newer smp");
    refused(with([](Json& plan) { plan["colour"] = "red"; }), "has \"colour\", which is unknown");
    EXPECT_EQ(smp_plan("--plan " + (folder_ / "none.json")).exit_code, 3);

    // With a hash that fits, too: what it says cannot be executed.
    Json json = Json::parse(text);
    json["microbatches"] = 7;
    const std::string said = smp_plan("--plan " + folder_.write("plan.json", json.dump())).output;
    json["hash"] = said.substr(said.find("the hash of the plan is ") + 24, 16);
    refused(json.dump(), "the plan in it cannot be executed:\ntraining: ");
}

TEST_F(SmpPlan, AFullDiskIsAnErrorAReaderThatLeavesIsNot) {
    const std::string command = fmt::format("{} --config {} --format trace", program("smp_plan"), job(kJobs[1]));
    const Outcome full = run(command + " > /dev/full");
    EXPECT_EQ(full.exit_code, 3);
    EXPECT_THAT(full.output, HasSubstr("standard output cannot be written: No space left"));
    const Outcome left = run(fmt::format("bash -c 'set -o pipefail; {} | head -c 10'", command));
    EXPECT_EQ(left.exit_code, 0) << left.output;
}

TEST_F(SmpPlan, ExplainsItself) {
    const Outcome help = smp_plan("--help");
    EXPECT_EQ(help.exit_code, 0);
    for (const char* part : {"Examples:\n  smp_plan --config", "--check", "virtual_pipeline_degree"})
        EXPECT_THAT(help.output, HasSubstr(part));
    EXPECT_THAT(smp_plan("--version").output, StartsWith("smp_plan "));
}

TEST_F(SmpPlan, LinksNeitherLibTorchNorMpi) {
    const std::string plan = run("ldd " + program("smp_plan")).output;
    const std::string train = run("ldd " + program("smp_train")).output;
    for (const char* library : {"libtorch", "libc10", "libmpi"}) {
        EXPECT_THAT(plan, Not(HasSubstr(library)));
        EXPECT_THAT(train, HasSubstr(library));
    }
}

/// Every command that the README shows for smp_plan, run where the README says; what it shows below is what comes.
TEST_F(SmpPlan, ReadmeShowsWhatItPrints) {
    const std::string readme = read_text(in_repository("README.md"));
    const std::string prefix = "\n    build/bin/smp_plan ";
    int commands = 0;
    for (auto at = readme.find(prefix); at != std::string::npos; at = readme.find(prefix, at + 1)) {
        const auto begin = at + prefix.size(), end = readme.find('\n', begin);
        std::string command = readme.substr(begin, end - begin);
        command = command.substr(0, command.find("  #"));
        SCOPED_TRACE(command);
        const Outcome outcome = run(fmt::format("cd {} && {} {}", SMP_SOURCE_DIR, program("smp_plan"), command));
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        ++commands;
        if (command.find("schedule") == std::string::npos) continue;
        std::istringstream lines(outcome.output);
        std::string shown = "\n";
        for (std::string line; std::getline(lines, line);) shown += line.empty() ? "\n" : "    " + line + "\n";
        EXPECT_THAT(readme.substr(end), HasSubstr(shown));
    }
    EXPECT_GE(commands, 2);
}

TEST_F(SmpPlan, CheckWarnsOfWhatTheReportWarnsOf) {
    const std::string job = "--config " + in_repository("configs/quickstart.json ");
    const Outcome small = smp_plan(job + "--check --set cluster.memory_limit_gib=0.001");
    EXPECT_EQ(small.exit_code, 0);
    EXPECT_THAT(small.output, HasSubstr("warning: the job does not fit"));
    const Outcome large = smp_plan(job + "--check --set cluster.memory_limit_gib=64");
    EXPECT_EQ(large.count("does not fit"), 0);
    EXPECT_THAT(smp_plan(job + "--set cluster.memory_limit_gib=64").output, HasSubstr("the job fits: "));
}

TEST_F(SmpPlan, ATiedHeadHasItsParametersOnce) {
    const Outcome outcome =
        smp_plan("--config " + in_repository("configs/gpt2_124m.json") +
                 " --set parallel.pipeline_parallel_degree=1 --set parallel.tensor_parallel_degree=1");
    // 124.4 million of the model, in its own line and in that of its one stage.
    EXPECT_THAT(outcome.output, ::testing::ContainsRegex("wte - lm_head +12 +124 M")) << outcome.output;
    for (const char* word : {"FLOPs: ", "F: ", "B: ", "in flight: "}) EXPECT_THAT(outcome.output, HasSubstr(word));
}

}  // namespace
}  // namespace smp::testing
