// A folder is whole under its name or not there, and what was there is never half replaced.
#include "runtime/files/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using Existing = OutputFolder::Existing;
using testing::content;
using ::testing::ElementsAre;
using testing::expect_data_error;
using testing::ScratchFolder;

std::vector<std::string> names_in(const ScratchFolder& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

void write(const OutputFolder& output, const std::string& text) { std::ofstream(output.path() / "file") << text; }

TEST(OutputFolder, AppearsWhenItIsCommittedAndNotBefore) {
    const ScratchFolder folder;
    {
        const OutputFolder given_up(folder / "a", Existing::keep);
        write(given_up, "half");
        EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    }
    EXPECT_THAT(names_in(folder), ElementsAre());
    OutputFolder output(folder / "a/", Existing::keep);
    write(output, "whole");
    output.commit();
    EXPECT_THAT(names_in(folder), ElementsAre("a"));
    EXPECT_EQ(content(folder / "a/file"), "whole");
}

TEST(OutputFolder, KeepsOrReplacesWhatIsThere) {
    const ScratchFolder folder;
    std::filesystem::create_directory(folder / "a");
    {
        OutputFolder output(folder / "a", Existing::keep);  // empty: as good as not there
        write(output, "first");
        output.commit();
    }
    expect_data_error([&] { OutputFolder(folder / "a", Existing::keep); }, {"exists already and is not overwritten"});
    folder.write("file", "");
    expect_data_error([&] { OutputFolder(folder / "file", Existing::replace); }, {"exists and is no folder"});
    {
        OutputFolder output(folder / "a", Existing::replace);
        write(output, "second");
        EXPECT_EQ(content(folder / "a/file"), "first");
        output.commit();
        EXPECT_EQ(content(folder / "a/file"), "second");
    }
    EXPECT_THAT(names_in(folder), ElementsAre("a", "file"));
    expect_data_error([&] { OutputFolder(folder / "none/a", Existing::keep); }, {"create the folder around it first"});
}

TEST(OutputFolder, WhatAKilledWriterLeftIsRemovedByTheNextButNotWhatIsBeingWritten) {
    const ScratchFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        const OutputFolder output(folder / "a", Existing::keep);
        write(output, "half");
        ::_exit(0);  // no destructor runs
    }
    ::waitpid(child, nullptr, 0);
    ASSERT_EQ(names_in(folder).size(), 1U);
    const OutputFolder one(folder / "a", Existing::keep), two(folder / "a", Existing::keep);
    EXPECT_EQ(names_in(folder).size(), 2U);
    EXPECT_TRUE(std::filesystem::exists(one.path()));
}

}  // namespace
}  // namespace smp::runtime
