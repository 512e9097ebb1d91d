#include "runtime/files/output_file.h"

#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::content;
using testing::expect_data_error;
using testing::ScratchFolder;

std::span<const std::byte> bytes_in(const std::string& text) { return std::as_bytes(std::span(text)); }

std::size_t files_in(const ScratchFolder& folder) {
    return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

TEST(OutputFile, IsThereWhenItIsComplete) {
    const ScratchFolder folder;
    {
        OutputFile file(folder / "x", OutputFile::Existing::keep);
        file.write(bytes_in("half"));
        EXPECT_FALSE(std::filesystem::exists(folder / "x"));
    }
    EXPECT_EQ(files_in(folder), 0U);
    OutputFile file(folder / "x", OutputFile::Existing::keep);
    file.write(bytes_in("whole"));
    file.commit();
    EXPECT_EQ(content(folder / "x"), "whole");
    EXPECT_EQ(files_in(folder), 1U);
}

// A process that is killed while it writes leaves nothing, or, on file systems without nameless files, nothing that
// outlives the next writer.
TEST(OutputFile, OfAKilledProcessGoesAway) {
    const ScratchFolder folder;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        OutputFile file(folder / "x", OutputFile::Existing::keep);
        file.write(std::vector<std::byte>(9 << 20));
        ::raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    const int nameless = ::open(folder.path().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (nameless >= 0) {
        EXPECT_EQ(files_in(folder), 0U);
        ::close(nameless);
    }
    OutputFile file(folder / "x", OutputFile::Existing::keep);
    file.write(bytes_in("whole"));
    file.commit();
    EXPECT_EQ(files_in(folder), 1U);
}

TEST(OutputFile, RemovesLeftoversOfItsNameButNoWritersOwn) {
    const ScratchFolder folder;
    for (const char* name : {"x.partial-1-0", "x.partial-2-0", "y.partial-1-0", "x.partial"})
        folder.write(name, "left");
    const int writer = ::open((folder / "x.partial-2-0").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(::flock(writer, LOCK_EX), 0);
    { const OutputFile file(folder / "x", OutputFile::Existing::keep); }
    EXPECT_FALSE(std::filesystem::exists(folder / "x.partial-1-0"));
    for (const char* name : {"x.partial-2-0", "y.partial-1-0", "x.partial"})
        EXPECT_TRUE(std::filesystem::exists(folder / name)) << name;
    ::close(writer);
}

// Pieces smaller and larger than the buffer, in any order.
RC_GTEST_PROP(OutputFile, HoldsAllBytesInOrder, ()) {
    const ScratchFolder folder;
    const auto sizes = *rc::gen::resize(6, rc::gen::container<std::vector<std::size_t>>(rc::gen::element<std::size_t>(
                                               0, 1, 1000, 2'000'000, (4 << 20) - 1, 4 << 20, (4 << 20) + 1)));
    OutputFile file(folder / "x", OutputFile::Existing::keep);
    std::string expected;
    char letter = 'a';
    for (const std::size_t size : sizes) {
        const std::string piece(size, letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1));
        file.write(bytes_in(piece));
        expected += piece;
        RC_ASSERT(file.size() == expected.size());
    }
    if (expected.size() > 2) {
        const auto position = *rc::gen::inRange<std::size_t>(0, expected.size() - 2);
        file.overwrite(position, bytes_in("XY"));
        expected.replace(position, 2, "XY");
        file.write(bytes_in("end"));
        expected += "end";
    }
    file.commit();
    RC_ASSERT(content(folder / "x") == expected);
}

TEST(OutputFile, KeepsWhatIsThereUnlessToldOtherwise) {
    const ScratchFolder folder;
    folder.write("x", "old");
    expect_data_error([&] { OutputFile(folder / "x", OutputFile::Existing::keep); },
                      {"x\" exists already and is not overwritten"});
    OutputFile late(folder / "y", OutputFile::Existing::keep);
    folder.write("y", "somebody else's");
    expect_data_error([&] { late.commit(); }, {"y\" exists already"});
    EXPECT_EQ(content(folder / "y"), "somebody else's");
    OutputFile file(folder / "x", OutputFile::Existing::replace);
    file.write(bytes_in("new"));
    EXPECT_EQ(content(folder / "x"), "old");
    file.commit();
    EXPECT_EQ(content(folder / "x"), "new");
}

TEST(OutputFile, WhatTheFileSystemRefusesIsASentence) {
    const ScratchFolder folder;
    expect_data_error([&] { OutputFile(folder / "none/x", OutputFile::Existing::keep); },
                      {"none/x\" cannot be created", "create its folder first"});
    expect_data_error([&] { OutputFile(folder.path(), OutputFile::Existing::replace); },
                      {"is a directory; name a file in it"});
    OutputFile file(folder / "x", OutputFile::Existing::keep);
    EXPECT_THROW(file.overwrite(1, bytes_in("a")), std::logic_error);
    std::filesystem::remove_all(folder.path());
    expect_data_error([&] { file.commit(); }, {"x\" cannot be put in place: No such file"});
}

}  // namespace
}  // namespace smp::runtime
