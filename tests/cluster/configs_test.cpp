// The jobs in configs/, as they lie there. If these fail, a job that the project ships cannot be started, does not fit
// the devices that it is for, or says so wrongly.
#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr double kGib = 1024.0 * 1024 * 1024;
const fs::path kConfigs = fs::path(SMP_SOURCE_DIR) / "configs";

/// A new one takes part by itself.
std::vector<fs::path> jobs_in(const fs::path& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().extension() == ".json") files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

Json stated_in(const fs::path& job) { return Json::parse(read_text(job), nullptr, true, /*ignore_comments=*/true); }

Outcome smp_plan(const fs::path& job, const std::string& options) {
    return run(fmt::format("{} --config {} {}", program("smp_plan"), job.string(), options));
}

/// Bytes of the fullest rank of each stage.
std::vector<double> peaks_of(const fs::path& job, const std::string& ranks) {
    const Outcome summary = smp_plan(job, ranks + " --format summary");
    EXPECT_EQ(summary.exit_code, 0) << summary.output;
    std::vector<double> peaks;
    const Json json = Json::parse(summary.output);
    for (const Json& stage : json["prediction"]["stages"]) peaks.push_back(stage["peak_bytes"].get<double>());
    return peaks;
}

TEST(Configs, EachIsProvenWithoutAWarningAndFitsWhatItStates) {
    int files = 0, limited = 0;
    for (const fs::path& folder : {kConfigs, kConfigs / "local"}) {
        const std::string ranks = folder == kConfigs ? "" : " --ranks 8";
        for (const fs::path& job : jobs_in(folder)) {
            SCOPED_TRACE(job);
            const Outcome check = smp_plan(job, "--check" + ranks);
            EXPECT_EQ(check.exit_code, 0) << check.output;
            EXPECT_THAT(check.output, StartsWith("proven"));
            EXPECT_EQ(check.count("warning: "), 0) << check.output;
            ++files;
            const Json cluster = stated_in(job).value("cluster", Json::object());
            if (!cluster.contains("memory_limit_gib")) continue;
            for (const double peak : peaks_of(job, ranks))
                EXPECT_LE(peak, cluster["memory_limit_gib"].get<double>() * kGib);
            ++limited;
        }
    }
    EXPECT_GE(files, 8);
    EXPECT_GE(limited, 6);
}

// Amazon SageMaker's table.
TEST(Configs, TheReferenceJobsAreThoseOfTheTable) {
    struct Reference {
        const char *name, *model, *ranks, *batch, *schedule;
        bool fits_in_fp32;
    };
    for (const Reference& reference : {
             Reference{"gpt2_10b", ": 9.87 B parameters",
                       "128 = 1 pipeline x 4 tensor x 32 data, placement DPT, on 16 nodes of 8",
                       "1280 sequences of 512 tokens, 1 microbatch of 40 on each of 32 replicas", "(K = 1)", true},
             Reference{"gpt2_30b", ": 30.0 B parameters",
                       "128 = 1 pipeline x 8 tensor x 16 data, placement DPT, on 16 nodes of 8",
                       "512 sequences of 512 tokens, 1 microbatch of 32 on each of 16 replicas", "(K = 1)", false},
             Reference{"gpt2_60b", ": 59.6 B parameters",
                       "256 = 2 pipeline x 8 tensor x 16 data, placement DPT, on 32 nodes of 8",
                       "896 sequences of 512 tokens, 4 microbatches of 14 on each of 16 replicas", "(K = 2)", false},
         }) {
        SCOPED_TRACE(reference.name);
        const fs::path job = kConfigs / (std::string(reference.name) + ".json");
        const Outcome plan = smp_plan(job, "");
        EXPECT_EQ(plan.exit_code, 0);
        for (const char* part : {"vocabulary 50000", reference.model, reference.ranks, reference.batch,
                                 reference.schedule, "the job fits: "})
            EXPECT_THAT(plan.output, HasSubstr(part));
        const Json stated = stated_in(job);
        for (const char* key : {"bf16", "shard_optimizer_state", "prescaled_batch"})
            EXPECT_EQ(stated["parallel"][key], true) << key;
        EXPECT_EQ(stated["parallel"]["activation_checkpointing"], "each");
        EXPECT_EQ(stated["cluster"]["memory_limit_gib"], 40);

        // What the head says.
        const std::string head = read_text(job).substr(0, read_text(job).find("\n{"));
        const auto peaks = peaks_of(job, "");
        for (const double peak : peaks) EXPECT_THAT(head, HasSubstr(fmt::format(" {:.1f} ", peak / kGib)));
        EXPECT_THAT(head, HasSubstr(fmt::format(" {:.0f} GiB of a node's", 8 * std::ranges::max(peaks) / kGib)));
        const Outcome in_fp32 = smp_plan(job, "--check --set parallel.bf16=false");
        EXPECT_EQ(in_fp32.count("does not fit"), reference.fits_in_fp32 ? 0 : 1);
        EXPECT_EQ(head.find("in fp32 it would not fit") == std::string::npos, reference.fits_in_fp32);
    }
}

TEST(Configs, ALocalTwinHasTheLayoutAndTheSwitchesOfItsJob) {
    const auto twins = jobs_in(kConfigs / "local");
    EXPECT_GE(twins.size(), 3U);
    for (const fs::path& twin : twins) {
        SCOPED_TRACE(twin);
        Json small = stated_in(twin)["parallel"], large = stated_in(kConfigs / twin.filename())["parallel"];
        EXPECT_LT(small["tensor_parallel_degree"], large["tensor_parallel_degree"]);
        for (Json* parallel : {&small, &large}) parallel->erase("tensor_parallel_degree");
        EXPECT_EQ(small, large);
    }
}

TEST(Configs, ALocalTwinTrainsAsThreadsAndAsProcesses) {
    for (const fs::path& twin : jobs_in(kConfigs / "local")) {
        SCOPED_TRACE(twin);
        const Folder folder;
        const auto train = [&](const std::string& launcher, const std::string& options) {
            const Outcome outcome = run(fmt::format("{} {} --config {} --output {} {}", launcher, program("smp_train"),
                                                    twin.string(), folder / "out", options + " --resume never"));
            EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
            return promised(folder / "out/metrics.jsonl");
        };
        const std::string threads = train("", "--ranks 8"), processes = train(mpirun(8), "");
        EXPECT_EQ(threads, processes);
        std::vector<double> losses;
        std::istringstream lines(threads);
        for (std::string line; std::getline(lines, line);) losses.push_back(Json::parse(line)["loss"].get<double>());
        ASSERT_GE(losses.size(), 10U);
        EXPECT_LT(losses.back(), losses.front());
    }
}

TEST(Configs, OnOtherRanksThanItStatesAJobSaysInOneSentenceWhatItNeeds) {
    for (const auto& [name, ranks] : {std::pair{"gpt2_10b", 128}, {"gpt2_30b", 128}, {"gpt2_60b", 256}}) {
        const Folder folder;
        const Outcome outcome = run(fmt::format("{} {} --config {}/{}.json --output {}", mpirun(4),
                                                program("smp_train"), kConfigs.string(), name, folder / "out"));
        EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
        EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr(fmt::format("the job needs {} ranks, but it was started on 4;", ranks)));
        EXPECT_EQ(outcome.count("cluster.devices_per_node = "), 1) << outcome.output;
        EXPECT_EQ(outcome.count("multiple"), 0) << outcome.output;
        EXPECT_FALSE(fs::exists(folder / "out"));
    }
}

}  // namespace
}  // namespace smp::testing
