// If these fail, a person who watches a job is not told where it runs, what slows it or which process is gone.
#include <netinet/in.h>
#include <regex>
#include <sys/socket.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class SmpTrainWatch : public ::testing::Test {
  protected:
    std::string command(const std::string& output, const std::string& options) const {
        return fmt::format("{} --config {} --output {} {}", program("smp_train"), job_, folder_ / output, options);
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", fmt::format(R"({{
        "model": {{"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256}},
        "parallel": {{"pipeline_parallel_degree": 2}},
        "training": {{"steps": 3, "global_batch_size": 4}},
        "data": {{"train": "{}/configs/data/shakespeare.txt"}}}})",
                                                             SMP_SOURCE_DIR));
};

TEST_F(SmpTrainWatch, LogsBeginWithWhereTheirRankIs) {
    const std::string where =
        "^rank {} on [^:]+: process [0-9]+, device cpu, cores [0-9,-]+ of [0-9]+, 1 thread, pp {}, "
        "tp 0, rdp 0\n";
    const Outcome outcome = run(mpirun(2) + command("out", "--set logging.all_ranks=true"));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    const std::string first = read_text(folder_ / "out/log.txt");
    EXPECT_THAT(first, ContainsRegex(fmt::format(fmt::runtime(where), 0, 0) +
                                     "node [^:]+: ranks 0-1 in 2 processes, cores [0-9,-]+ of [0-9]+, 2 threads\n"));
    EXPECT_THAT(read_text(folder_ / "out/log.1.txt"), ContainsRegex(fmt::format(fmt::runtime(where), 1, 1)));
    for (const auto& entry : fs::directory_iterator(folder_ / "out"))  // one node needs no log of its own
        EXPECT_FALSE(std::regex_match(entry.path().filename().string(), std::regex("log\\..*[a-z].*\\.txt"))) << entry;
}

TEST_F(SmpTrainWatch, RanksThatAreBoundToOneCoreAreWarnedOf) {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two processors";
    const Outcome bound = run("taskset -c 0 " + command("bound", "--ranks 2"));
    ASSERT_EQ(bound.exit_code, 0) << bound.output;
    EXPECT_THAT(read_text(folder_ / "bound/log.txt"),
                AllOf(ContainsRegex("warning: ranks 0-1 on [^:]+ compute with 2 threads on 1 core \\(cores 0 of"),
                      HasSubstr("cores 0 of")));
    const Outcome placed = run("OMP_PROC_BIND=close " + command("placed", "--ranks 2"));
    ASSERT_EQ(placed.exit_code, 0) << placed.output;
    EXPECT_THAT(placed.output, HasSubstr("warning: OMP_PROC_BIND=close in the environment of ranks 0-1"));
}

// The launcher ends the others and says why on its own standard error; log.txt is what remains of the job.
TEST_F(SmpTrainWatch, AProcessThatDiesWithoutAWordIsNamedInTheLog) {
    for (const int rank : {1, 0}) {
        const std::string output = fmt::format("killed{}", rank);
        const Outcome outcome = run(fmt::format(
            "{0} & for i in $(seq 3000); do if [ $(cat {1}/metrics.jsonl 2>/dev/null | wc -l) -ge 2 ]; then break; fi; "
            "sleep 0.01; done; kill -9 $(sed -n '1s/.*process \\([0-9]*\\),.*/\\1/p' {1}/{2}); wait",
            mpirun(2) + command(output, "--set training.steps=1000000 --set logging.all_ranks=true"), folder_ / output,
            rank == 0 ? "log.txt" : "log.1.txt"));
        EXPECT_THAT(
            read_text(folder_ / (output + "/log.txt")),
            ContainsRegex(fmt::format("\n20[0-9-]+ [0-9:]+ UTC smp_train: rank {0} \\(pp {0}, tp 0, rdp 0\\) on "
                                      "[^,]+, process [0-9]+, is gone without a word",
                                      rank)))
            << outcome.output;
    }
    const Outcome whole = run(mpirun(2) + command("whole", ""));
    EXPECT_EQ(whole.exit_code, 0);
    EXPECT_EQ(read_text(folder_ / "whole/log.txt").find("gone"), std::string::npos);
}

TEST_F(SmpTrainWatch, TensorBoardsFilesAreThereAndGoWithTheirRun) {
    const auto files = [&](const std::string& folder) {
        return fs::exists(folder_ / folder)
                   ? std::distance(fs::directory_iterator(folder_ / folder), fs::directory_iterator())
                   : 0;
    };
    ASSERT_EQ(run(command("out", "")).exit_code, 0);
    EXPECT_EQ(files("out/tensorboard"), 1);
    ASSERT_EQ(run(command("out", "--set training.steps=4")).exit_code, 0);
    EXPECT_EQ(files("out/tensorboard"), 2);  // it went on
    ASSERT_EQ(run(command("out", "--resume never --set logging.tensorboard=false")).exit_code, 0);
    EXPECT_EQ(files("out/tensorboard"), 0);
    EXPECT_EQ(files("out/earlier/1/tensorboard"), 2);
}

/// A port of this host, and somebody who listens there.
class Taken {
  public:
    Taken() {
        sockaddr_in any{};
        any.sin_family = AF_INET;
        socklen_t size = sizeof any;
        EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&any), size), 0);
        EXPECT_EQ(::listen(socket_, 1), 0);
        EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&any), &size), 0);
        port_ = ntohs(any.sin_port);
    }
    ~Taken() { ::close(socket_); }
    int port() const { return port_; }

  private:
    int socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    int port_ = 0;
};

TEST_F(SmpTrainWatch, PrometheusFindsTheMetricsOfARunningTraining) {
    const int port = Taken().port();  // free again
    const Outcome outcome = run(fmt::format(
        "{0} & pid=$!; for i in $(seq 600); do bash -c 'exec 3<>/dev/tcp/127.0.0.1/{1} && printf \"GET /metrics "
        "HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3' >{2} 2>/dev/null; if grep -q smp_loss {2}; then break; fi; sleep 0.1; "
        "done; kill -TERM $pid; wait $pid",
        command("out", fmt::format("--set training.steps=1000000 --set logging.prometheus_port={}", port)), port,
        folder_ / "page.txt"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(read_text(folder_ / "page.txt"),
                AllOf(HasSubstr("200 OK"), ContainsRegex("\nsmp_loss [0-9.]+\n"), ContainsRegex("\nsmp_step [0-9]+\n"),
                      ContainsRegex("\nsmp_resident_bytes [0-9]+\n"), ContainsRegex("\nsmp_wait_seconds [0-9.e-]+\n")));
}

TEST_F(SmpTrainWatch, APortThatIsTakenCostsThePageAlone) {
    const Taken taken;
    const Outcome outcome = run(command("out", fmt::format("--set logging.prometheus_port={}", taken.port())));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(outcome.count("warning: logging.prometheus_port = "), 1) << outcome.output;
}

}  // namespace
}  // namespace smp::testing
