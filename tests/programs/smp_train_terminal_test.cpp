// What a person sees who watches a training, on a narrow terminal, without colours, or with --quiet.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SmpTrainTerminal : public ::testing::Test {
  protected:
    /// smp_train on a terminal of its own, in the folder.
    Outcome watch(unsigned short columns, const std::string& options) const {
        winsize size{};
        size.ws_col = columns;
        size.ws_row = 24;
        int terminal = -1;
        const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
        if (child == 0) {
            const std::string command = fmt::format("cd {} && TERM=xterm {} --config job.json --output o {}",
                                                    folder_ / "", program("smp_train"), options);
            ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
            ::_exit(127);
        }
        Outcome outcome;
        std::array<char, 4096> buffer;
        // A terminal whose program has ended is an error to read from.
        for (ssize_t count;
             (count = ::read(terminal, buffer.data(), buffer.size())) > 0 || (count < 0 && errno == EINTR);)
            if (count > 0) outcome.output.append(buffer.data(), static_cast<std::size_t>(count));
        int status = 0;
        ::waitpid(child, &status, 0);
        ::close(terminal);
        outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return outcome;
    }

    /// What was sent, line by line, without what moves the cursor and sets colours.
    static std::vector<std::string> lines_of(const std::string& sent) {
        std::vector<std::string> lines(1);
        for (std::size_t i = 0; i < sent.size(); ++i) {
            if (sent[i] == '\x1b')
                i = std::min(sent.find_first_of("ABCDHJKm", i), sent.size());
            else if (sent[i] == '\n')
                lines.emplace_back();
            else if (sent[i] != '\r')
                lines.back() += sent[i];
        }
        return lines;
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", R"({
        "model": {"n_layer": 4, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "parallel": {"pipeline_parallel_degree": 2, "microbatches": 4, "active_microbatches": 1},
        "training": {"steps": 4, "global_batch_size": 4, "evaluate_every": 2, "sample_tokens": 3, "sample_prompt": "So"},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt", "validation_fraction": 0.1}})");
};

TEST_F(SmpTrainTerminal, EverythingFitsFortyColumns) {
    const Outcome outcome = watch(40, "");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    bool has_settings = false, has_bar = false, has_step = false;
    for (const std::string& line : lines_of(outcome.output)) {
        // A word that is longer, as a path, stays whole.
        const bool is_one_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
        EXPECT_TRUE(is_one_word || line.size() <= 40) << line;
        has_settings = has_settings || line.starts_with("model   |");
        has_bar = has_bar || (line.find(" % ") != std::string::npos && line.ends_with(" left"));
        has_step = has_step || line.starts_with("step 4/4 | loss");
    }
    EXPECT_TRUE(has_settings && has_bar && has_step) << outcome.output;
    for (const char* part : {"--- sample ---\r\nSo", "\x1b[33mwarning: ", "\x1b[32madvice: ", "\x1b[1mstep 4/4"})
        EXPECT_THAT(outcome.output, HasSubstr(part));
    EXPECT_THAT(read_text(folder_ / "o/log.txt"), Not(HasSubstr("\x1b")));
}

TEST_F(SmpTrainTerminal, NoColorAndQuietAreKept) {
    ::setenv("NO_COLOR", "1", 1);
    const Outcome colourless = watch(100, "");
    ::unsetenv("NO_COLOR");
    EXPECT_EQ(colourless.exit_code, 0);
    EXPECT_THAT(colourless.output, HasSubstr("warning: "));
    EXPECT_THAT(colourless.output, Not(::testing::ContainsRegex("\x1b\\[[0-9]+m")));
    EXPECT_THAT(colourless.output, HasSubstr("\x1b[A"));  // the bar is redrawn

    const Outcome quiet = watch(100, "--resume never --quiet");
    EXPECT_EQ(quiet.exit_code, 0);
    EXPECT_EQ(quiet.output, "");
    EXPECT_THAT(read_text(folder_ / "o/log.txt"), HasSubstr("step 4/4"));
    EXPECT_EQ(watch(100, "--quiet").output, "");  // it is finished
    const Outcome failing = watch(100, "--quiet --set training.steps=0");
    EXPECT_EQ(failing.exit_code, 2);
    EXPECT_THAT(failing.output, HasSubstr("smp_train: error: "));
    EXPECT_THAT(watch(100, "--quiet --dry-run").output, HasSubstr("--quiet leaves nothing of --dry-run"));
}

}  // namespace
}  // namespace smp::testing
