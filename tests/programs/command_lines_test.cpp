// Every command line that the README and --help show works as it stands there.
#include <cctype>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

/// Lines of a shell: one that ends with a backslash goes on in the next.
std::vector<std::string> command_lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (const std::string& line : lines_of(text)) {
        if (!lines.empty() && lines.back().ends_with('\\')) {
            lines.back().pop_back();
            lines.back() += line.substr(std::min(line.find_first_not_of(' '), line.size()));
        } else {
            lines.push_back(line);
        }
    }
    return lines;
}

/// A command up to the remark behind it: "# …" or more than one space.
std::string without_remark(std::string line) {
    line.erase(0, line.find_first_not_of(' '));
    return line.substr(0, std::min(line.find("  "), line.find(" # ")));
}

/// The block of JSON that begins and ends with a brace in column `indent`.
std::string json_in(const std::vector<std::string>& lines, std::size_t indent) {
    const std::string open = std::string(indent, ' ') + "{", close = std::string(indent, ' ') + "}";
    std::string json;
    bool inside = false;
    for (const std::string& line : lines) {
        inside = inside || line == open;
        if (inside) json += line + "\n";
        if (inside && line == close) break;
    }
    return json;
}

/// A benchmark job as it stands, but short.
constexpr const char* kFewSteps = " --rounds 1 --steps 1 --warm-up 0";

class CommandLines : public ::testing::Test {
  protected:
    CommandLines() {
        const std::filesystem::path source = SMP_SOURCE_DIR, folder = folder_ / "";
        std::filesystem::create_directory_symlink(source / "configs", folder / "configs");
        std::filesystem::create_directory_symlink(source / "launch", folder / "launch");
        std::filesystem::create_directory_symlink(SMP_BINARY_DIR, folder / "build");
        const std::string text = read_text(source / "configs/data/shakespeare.txt").substr(0, 100'000);
        folder_.write("my_text.txt", text);
        folder_.write("plays.txt", text);
        folder_.write("my_hosts", "localhost slots=8\n");
        std::filesystem::create_directory(folder / "corpus");
        std::string documents;
        for (std::size_t i = 0; i + 1000 < text.size(); i += 1000)
            documents += nlohmann::json{{"text", text.substr(i, 1000)}}.dump() + "\n";
        folder_.write("corpus/a.jsonl", documents);
    }

    /// In the scratch folder, by bash, with the programs in PATH.
    Outcome in_folder(const std::string& command) const {
        const std::string script = folder_.write("command.sh", command + "\n");
        return run(fmt::format(
            "cd {} && PATH={}/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 "
            "OMPI_MCA_rmaps_base_oversubscribe=1 bash -o pipefail {}",
            folder_ / "", SMP_BINARY_DIR, script));
    }

    Folder folder_;
};

TEST_F(CommandLines, OfTheReadme) {
    const auto lines = command_lines_of(read_text(SMP_SOURCE_DIR "/README.md"));
    bool in_json = false;
    std::string json;
    for (const std::string& line : lines) {
        if (in_json && line == "```") break;
        if (in_json) json += line + "\n";
        in_json = in_json || line == "```json";
    }
    folder_.write("my.json", json);
    int trained = 0, planned = 0;
    for (const std::string& line : lines) {
        // An sbatch needs a Slurm: tests/cluster/start_test.cpp.
        if (!line.starts_with("    mpirun ") && !line.starts_with("    build/bin/") &&
            !line.starts_with("    launch/cluster/"))
            continue;
        std::string command = without_remark(line);
        if (const auto at = command.find("/tmp/"); at != std::string::npos) command.replace(at, 5, "try/");
        // As it stands, or, where it would train for long, with fewer steps.
        const bool trains = command.find("smp_train") != std::string::npos;
        if (trains && command.find("--set training.steps") == std::string::npos)
            command += " --set training.steps=2 --set training.warmup_steps=1";
        if (command.find("smp_bench --config") != std::string::npos) command += kFewSteps;
        const Outcome outcome = in_folder(command);
        EXPECT_EQ(outcome.exit_code, 0) << command << "\n" << outcome.output;
        ++(trains ? trained : planned);
    }
    EXPECT_GE(trained, 3);
    EXPECT_GE(planned, 5);
}

TEST_F(CommandLines, OfTheHelp) {
    for (const std::string name :
         {"smp_train", "smp_plan", "smp_data", "smp_data encode", "smp_data inspect", "smp_data decode", "smp_convert",
          "smp_convert inspect", "smp_convert verify", "smp_convert export", "smp_convert import",
          "smp_convert relayout", "smp_generate", "smp_bench", "smp_bench links", "smp_bench operators"}) {
        const Outcome help = in_folder(name + " --help");
        ASSERT_EQ(help.exit_code, 0);
        const auto lines = command_lines_of(help.output);
        if (const std::string json = json_in(lines, 2); !json.empty()) folder_.write("job.json", json);
        if (name == "smp_train") {  // the run that pages of smp_convert are about
            const Outcome made = in_folder("cp job.json trained.json; smp_train --config job.json --output runs/job");
            ASSERT_EQ(made.exit_code, 0) << made.output;
        }
        if (name.starts_with("smp_convert"))
            in_folder("cp trained.json job.json; rm -rf gpt2-mine* step_0* tensor_parallel");
        if (name == "smp_convert import") in_folder("smp_convert export runs/job gpt2-mine");
        int shown = 0;
        bool is_example = false;
        for (const std::string& line : lines) {
            if (!line.starts_with(' ')) is_example = line.starts_with("Example");
            if (!is_example || (!line.starts_with("  smp_") && !line.starts_with("  mpirun "))) continue;
            std::string command = without_remark(line);
            if (const auto at = command.find("| less"); at != std::string::npos) command.replace(at, 6, "| cat");
            const bool trains = command.find("smp_train ") != std::string::npos;
            if (trains && command.find("--help") == std::string::npos) command += fmt::format(" --output out{}", shown);
            if (trains && command.find("training.steps") == std::string::npos) command += " --set training.steps=2";
            if (command.find("smp_bench --config") != std::string::npos) command += kFewSteps;
            if (command.starts_with("smp_data encode")) command += " --force";  // each page makes them
            const Outcome outcome = in_folder(command);
            EXPECT_EQ(outcome.exit_code, 0) << command << "\n" << outcome.output;
            ++shown;
        }
        EXPECT_GE(shown, 2) << name;
    }
}

/// As wide as the terminal, or as COLUMNS says; for one section on request.
TEST_F(CommandLines, HelpFitsTheTerminal) {
    for (const std::string name : {"smp_train", "smp_plan", "smp_data encode", "smp_convert", "smp_convert import",
                                   "smp_convert relayout", "smp_generate", "smp_bench", "smp_bench links"}) {
        for (const int columns : {50, 80, 110}) {
            if (columns < 80 && name != "smp_plan") continue;  // examples do not fold
            const Outcome help = in_folder(fmt::format("COLUMNS={} {} -h", columns, name));
            ASSERT_EQ(help.exit_code, 0);
            for (const std::string& line : lines_of(help.output))
                EXPECT_LE(line.size(), std::max(columns, 80)) << name << ": " << line;
        }
    }
    const Outcome one = in_folder("COLUMNS=60 smp_train --help parallel");
    EXPECT_EQ(one.exit_code, 0);
    EXPECT_TRUE(one.output.starts_with("parallel\n")) << one.output;
    EXPECT_THAT(one.output, HasSubstr("microbatches"));
    EXPECT_EQ(one.output.find("learning_rate"), std::string::npos);
    EXPECT_EQ(in_folder("smp_plan --help=paralel").exit_code, 2);
}

TEST_F(CommandLines, TheQuickstartsLossTableKeepsItsDecimals) {
    const std::string table = SMP_SOURCE_DIR "/launch/loss_table";
    folder_.write("metrics.jsonl", R"({"step":1,"loss":5.5123,"grad_norm":1.5}
{"step":2,"loss":4.25,"grad_norm":1.5,"validation_loss":3.75}
)");
    const std::string expected = "  step      1   loss 5.5123\n  step      2   loss 4.2500   validation loss 3.7500\n";
    EXPECT_EQ(in_folder(table + " metrics.jsonl").output, expected);
    if (in_folder("localedef -i de_DE -f UTF-8 ./de_DE.UTF-8").exit_code != 0)
        GTEST_SKIP() << "no locale with decimal commas can be made here (Debian's package locales)";
    EXPECT_EQ(in_folder("LOCPATH=$PWD LC_ALL=de_DE.UTF-8 " + table + " metrics.jsonl").output, expected);
}

}  // namespace
}  // namespace smp::testing
