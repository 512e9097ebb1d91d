// A file that another program shortens while it is mapped is a sentence, not the end of the process.
#include "runtime/files/mapped_file.h"

#include <gtest/gtest.h>

#include "runtime/data/token_file.h"
#include "runtime/files/safetensors.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::expect_data_error;
using testing::ScratchFolder;

std::size_t sum_of(const MappedFile& file) {
    std::size_t sum = 0;
    for (const std::byte byte : file.bytes()) sum += std::to_integer<std::size_t>(byte);
    return sum;
}

TEST(MappedFile, IsWholeAsLongAsNobodyShortensIt) {
    const ScratchFolder folder;
    for (const std::size_t size : {1, 100, 4096, 4097, 20000}) {
        const MappedFile file(folder.write("x", std::string(size, '\1')));
        EXPECT_EQ(sum_of(file), size);
        EXPECT_NO_THROW(file.require_whole());
        const MappedFile zeros(folder.write("zeros", std::string(size, '\0')));
        EXPECT_EQ(sum_of(zeros), 0U);
        EXPECT_NO_THROW(zeros.require_whole());
    }
}

TEST(MappedFile, SaysSoWhereItWasShortened) {
    const ScratchFolder folder;
    for (const std::size_t left : {0, 1, 4096, 5000, 15999}) {  // by pages, and inside the last one
        SCOPED_TRACE(left);
        MappedFile file(folder.write("x", std::string(16000, '\1')));
        const MappedFile other(folder.write("y", std::string(16000, '\1')));
        std::filesystem::resize_file(folder / "x", left);
        EXPECT_LE(sum_of(file), 16000U);  // whatever it reads, it goes on
        expect_data_error([&] { file.require_whole(); },
                          {"x\" had 16000 bytes when it was opened", std::to_string(left), "renaming"});
        MappedFile moved = std::move(file);
        EXPECT_THROW(moved.require_whole(), DataError);
        EXPECT_NO_THROW(other.require_whole());
    }
    const MappedFile zeros(folder.write("zeros", std::string(16000, '\0')));
    std::filesystem::resize_file(folder / "zeros", 100);
    EXPECT_THROW(zeros.require_whole(), DataError);
}

TEST(MappedFile, AnotherMayTakeItsName) {
    const ScratchFolder folder;
    const MappedFile file(folder.write("x", std::string(16000, '\1')));
    std::filesystem::rename(folder.write("new", "short"), folder / "x");
    EXPECT_EQ(sum_of(file), 16000U);
    EXPECT_NO_THROW(file.require_whole());
}

TEST(MappedFile, TokensAndTensorsOfAShortenedFileAreRefused) {
    const ScratchFolder folder;
    const TokenFile tokens(folder.write_tokens("x.bin", std::vector<std::uint16_t>(10000, 7)), {.vocab_size = 10});
    std::vector<std::int64_t> some(100);
    tokens.read(9000, some);
    std::filesystem::resize_file(folder / "x.bin", 10000);
    expect_data_error([&] { tokens.read(9000, some); }, {"x.bin\" had 20000 bytes"});

    const std::vector<float> values(5000, 1.0F);
    write_safetensors(
        folder / "x.safetensors",
        std::vector<SafetensorsEntry>{{.name = "a", .shape = {5000}, .bytes = std::as_bytes(std::span(values))}});
    const Weights weights = open_weights(folder / "x.safetensors");
    std::vector<float> read(5000);
    std::filesystem::resize_file(folder / "x.safetensors", 6000);
    expect_data_error([&] { weights.read_float(*weights.find("a"), 0, read); }, {"x.safetensors\" had"});
}

}  // namespace
}  // namespace smp::runtime
