// A screen that is narrow, left, full or not read costs the run nothing.
#include "runtime/records/screen.h"

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/records/console.h"
#include "runtime/records/folded_text.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::HasSubstr;

/// What has been written to the other end, so far.
std::string all_of(int descriptor) {
    std::string text;
    char buffer[4096];
    pollfd entry{.fd = descriptor, .events = POLLIN, .revents = 0};
    while (::poll(&entry, 1, 0) > 0 && (entry.revents & POLLIN) != 0) {
        const ssize_t length = ::read(descriptor, buffer, sizeof buffer);
        if (length <= 0) break;
        text.append(buffer, static_cast<std::size_t>(length));
    }
    return text;
}

struct Pipe {
    int ends[2] = {-1, -1};
    Pipe() {
        EXPECT_EQ(::pipe(ends), 0);
        std::signal(SIGPIPE, SIG_IGN);
    }
    ~Pipe() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
};

struct Terminal {
    int person = -1, program = -1;
    explicit Terminal(unsigned short columns) {
        winsize size{};
        size.ws_col = columns;
        size.ws_row = 24;
        EXPECT_EQ(::openpty(&person, &program, nullptr, nullptr, &size), 0);
    }
    ~Terminal() {
        ::close(person);
        ::close(program);
    }
};

TEST(Screen, DropsWhatNobodyReadsAndSaysSoWhenSomebodyDoes) {
    const Pipe pipe;
    Screen screen(pipe.ends[1]);
    const std::string line(99, 'x');
    for (int i = 0; i < 2000; ++i) screen.write(line);
    const std::string shown = all_of(pipe.ends[0]);
    const std::size_t lines = shown.size() / 100;
    EXPECT_EQ(shown.size(), 100 * lines);
    EXPECT_TRUE(1 <= lines && lines < 2000) << lines;  // what a pipe holds is the system's affair
    screen.write("on");
    EXPECT_EQ(all_of(pipe.ends[0]), fmt::format("({} messages were not shown; the log has them)\non\n", 2000 - lines));
}

TEST(Screen, IsSilentOnceItsReaderIsGone) {
    Pipe pipe;
    Screen screen(pipe.ends[1]);
    ::close(pipe.ends[0]);
    screen.write("one");
    screen.write("two");
    Screen full(::open("/dev/full", O_WRONLY | O_CLOEXEC)), nowhere(-1);
    full.write("one");
    nowhere.write("one");
    EXPECT_EQ(nowhere.columns(), 0U);
}

TEST(Screen, ABarIsReplacedAndLeavesTheCursorOnALineOfItsOwn) {
    const Terminal terminal(40);
    {
        Screen screen(terminal.program, /*redraws=*/true);
        EXPECT_EQ(screen.columns(), 40U);
        screen.draw("[=   ]");
        EXPECT_EQ(all_of(terminal.person), "[=   ]\r\n");
        screen.write("step 2");
        EXPECT_EQ(all_of(terminal.person), "\x1b[A\r\x1b[Kstep 2\r\n");
        screen.draw("[==  ]");
        EXPECT_EQ(all_of(terminal.person), "[==  ]\r\n");
    }
    EXPECT_EQ(all_of(terminal.person), "\x1b[A\r\x1b[K");
    Screen plain(terminal.program);
    plain.draw("[==  ]");
    EXPECT_EQ(all_of(terminal.person), "");
}

/// Every line that a step and its bar make fits the terminal, and says the step and the loss; the log has all of it.
TEST(Console, LinesAndBarsFitTheTerminal) {
    for (const unsigned short columns : {20, 40, 60, 80, 100, 140}) {
        const testing::ScratchFolder folder;
        const Terminal terminal(columns);
        Job job;
        job.training.steps = 200;
        const partition::Plan plan;
        const partition::ModuleGraph graph;
        Console console({.screen = terminal.program, .bar = true, .log = folder / "log.txt", .results = ""});
        console.started({.job = job, .plan = plan, .graph = graph, .at = {}});
        StepRecord record;
        record.step = 100;
        record.loss = 3.25;
        record.seconds = 1;
        record.validation_loss = 3.5;
        console.stepped(record);
        std::string line, text = all_of(terminal.person);
        std::vector<std::string> lines;
        for (std::size_t end; (end = text.find("\r\n")) != std::string::npos; text.erase(0, end + 2))
            lines.push_back(text.substr(0, end));
        ASSERT_EQ(lines.size(), 2U);
        for (const std::string& each : lines) EXPECT_LT(each.size(), std::max<std::size_t>(columns, 36)) << columns;
        EXPECT_LT(lines[1].size(), columns);
        EXPECT_THAT(lines[0], HasSubstr("step 100/200 | loss   3.2500"));
        EXPECT_THAT(lines[1], HasSubstr("50 %"));
        EXPECT_THAT(testing::content(folder / "log.txt"), HasSubstr("tokens/s | validation loss 3.5000"));
    }
}

TEST(FoldedText, BreaksBetweenWordsOnly) {
    EXPECT_EQ(folded("one two three", 0, 2), "one two three");
    EXPECT_EQ(folded("one two three", 13, 2), "one two three");
    EXPECT_EQ(folded("one two three", 12, 2), "one two\n  three");
    EXPECT_EQ(folded("name  | one two three", 14, 8), "name  | one\n        two\n        three");
    EXPECT_EQ(folded("name  | one two three", 9, 8),
              "name  |\n      one\n      two\n      three");  // margin: two thirds
    EXPECT_EQ(folded("in /a/long/path/of/somebody now", 10, 2), "in\n  /a/long/path/of/somebody\n  now");
    EXPECT_EQ(folded("a b\nc d", 3, 2), "a b\nc d");
    EXPECT_EQ(folded("\xc3\xa4\xc3\xa4 \xc3\xa4\xc3\xa4", 5, 0), "\xc3\xa4\xc3\xa4 \xc3\xa4\xc3\xa4");
    EXPECT_EQ(folded("", 5, 2), "");
}

/// Colours lead the eye on a screen alone, and what a run says cannot set them.
TEST(Console, ColoursAreForTheScreen) {
    for (const bool colours : {false, true}) {
        const testing::ScratchFolder folder;
        const Terminal terminal(80);
        const Job job;
        const partition::Plan plan;
        const partition::ModuleGraph graph;
        Console console(
            {.screen = terminal.program, .bar = true, .colours = colours, .log = folder / "log.txt", .results = ""});
        console.started({.job = job, .plan = plan, .graph = graph, .at = {}, .warnings = {"beware \x1b[31m"}});
        const std::string shown = all_of(terminal.person);
        EXPECT_EQ(shown, colours ? "\x1b[33mwarning: beware \\x1b[31m\x1b[0m\r\n" : "warning: beware \\x1b[31m\r\n");
        EXPECT_EQ(testing::content(folder / "log.txt"), "warning: beware \\x1b[31m\n");
    }
}

}  // namespace
}  // namespace smp::runtime
