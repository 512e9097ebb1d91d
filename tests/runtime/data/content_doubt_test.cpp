// A file that holds something else than its name says is refused, or doubted aloud, before a token of it is used.
#include "runtime/data/content_doubt.h"

#include <bit>
#include <cstring>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "runtime/data/token_file.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::expect_data_error;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;

const auto kBytes = make_byte_tokenizer();

TokenFile open_file(const std::filesystem::path& path, std::int64_t vocab_size = 50257, int token_bytes = 0,
                    DataFormat format = DataFormat::automatic) {
    return {path, {.format = format, .vocab_size = vocab_size, .tokenizer = kBytes.get(), .token_bytes = token_bytes}};
}

/// As text has them: small numbers often, large ones too.
std::vector<std::int64_t> tokens_below(std::int64_t limit, std::size_t count = 4000) {
    std::mt19937 engine(7);
    std::exponential_distribution<double> draw(12);
    std::vector<std::int64_t> tokens(count);
    for (auto& token : tokens)
        token = static_cast<std::int64_t>(static_cast<double>(limit) * std::min(0.999, draw(engine)));
    return tokens;
}

template <class Word>
std::string stored(const std::vector<std::int64_t>& tokens, bool big_endian = false) {
    std::string bytes;
    for (const std::int64_t token : tokens) {
        const auto word = static_cast<Word>(token);
        std::string piece(reinterpret_cast<const char*>(&word), sizeof word);
        if (big_endian) piece = {piece.rbegin(), piece.rend()};
        bytes += piece;
    }
    return bytes;
}

TEST(ContentDoubt, WiderIntegersAreNoTokensOfTwoBytes) {
    const ScratchFolder folder;
    auto tokens = tokens_below(50257);
    const auto refused = [&](const std::string& bytes, std::int64_t vocab_size, const std::vector<std::string>& parts) {
        const auto path = folder.write("x.bin", bytes);
        expect_data_error([&] { open_file(path, vocab_size); }, parts);
        expect_data_error([&] { open_file(path, vocab_size, 0, DataFormat::nanogpt); }, parts);
    };
    refused(stored<std::uint32_t>(tokens), 50257, {"looks like 4-byte integers", "data.token_bytes = 4"});
    refused(stored<std::int64_t>(tokens), 50257, {"looks like 8-byte integers", "data.token_bytes = 8"});
    refused(stored<std::int64_t>(tokens), 128256, {"looks like 8-byte integers", "data.token_bytes = 8"});
    refused(stored<std::uint16_t>(tokens), 128256, {"looks like 2-byte integers", "data.token_bytes = 2"});
    refused(stored<std::uint32_t>(tokens_below(128256)), 50257, {"looks like 4-byte integers"});
    refused(stored<std::uint32_t>(tokens_below(4)), 50257, {"looks like 4-byte integers"});  // a small vocabulary
    refused(stored<std::uint32_t>(tokens, true), 50257, {"4-byte integers in big-endian order"});
    refused(stored<std::int64_t>(tokens, true), 50257, {"8-byte integers in big-endian order"});
    refused(stored<std::uint32_t>(tokens, true), 128256, {"4-byte integers in big-endian order"});
    refused(stored<std::uint16_t>(tokens, true), 50257, {"2-byte integers in big-endian order"});
    refused(stored<float>(tokens), 50257, {"4-byte floating-point numbers"});
    refused(stored<double>(tokens), 50257, {"8-byte floating-point numbers"});
    refused("A text of some length, which somebody has given the wrong name.\n", 50257,
            {"plain text", "data.format = \"text\""});
    tokens[77] = -100;  // a mark
    refused(stored<std::int32_t>(tokens), 50257, {"looks like 4-byte integers"});
}

TEST(ContentDoubt, AStatedWidthIsBelieved) {
    const ScratchFolder folder;
    const auto tokens = tokens_below(50257);
    std::vector<std::int64_t> read(tokens.size());
    const auto expect_read = [&](const std::string& bytes, std::int64_t vocab_size, int token_bytes) {
        const TokenFile file = open_file(folder.write("x.bin", bytes), vocab_size, token_bytes);
        ASSERT_EQ(file.tokens(), std::ssize(tokens)) << token_bytes;
        file.read(0, read);
        EXPECT_EQ(read, tokens) << token_bytes;
        EXPECT_THAT(file.warnings(), IsEmpty());
    };
    expect_read(stored<std::uint16_t>(tokens), 128256, 2);
    expect_read(stored<std::uint32_t>(tokens), 50257, 4);
    expect_read(stored<std::int64_t>(tokens), 50257, 8);
    // Zeros in every second place can be meant.
    EXPECT_EQ(open_file(folder.write("x.bin", stored<std::uint32_t>(tokens)), 50257, 2).tokens(),
              2 * std::ssize(tokens));
    expect_data_error([&] { open_file(folder.write("x.bin", "123456"), 50257, 4); },
                      {"no multiple of 4", "data.token_bytes = 4"});
}

TEST(ContentDoubt, IsFoundInLargeFilesWhereverItBegins) {
    const ScratchFolder folder;
    const auto tokens = tokens_below(50257, 1 << 20);
    expect_data_error([&] { open_file(folder.write("x.bin", stored<std::uint32_t>(tokens))); }, {"4-byte integers"});
    EXPECT_THAT(open_file(folder.write("y.bin", stored<std::uint16_t>(tokens))).warnings(), IsEmpty());
}

// Files of any vocabulary and length are what they are.
RC_GTEST_PROP(ContentDoubt, TokensAreNotDoubted, ()) {
    const auto vocab_size = *rc::gen::inRange<std::int64_t>(2, 65537);
    std::mt19937_64 engine(*rc::gen::arbitrary<std::uint64_t>());
    // By chance a short run is anything: eight words with zeros in the same places.
    std::vector<std::int64_t> tokens(*rc::gen::inRange<std::size_t>(100, 1000));
    for (auto& token : tokens) token = static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(vocab_size));
    const std::string bytes = stored<std::uint16_t>(tokens);
    const auto doubt = doubt_as_tokens(std::as_bytes(std::span(bytes)), TokenType::uint16, vocab_size);
    if (doubt) RC_FAIL(doubt->what);
}

TEST(ContentDoubt, BinaryFilesAreNoText) {
    const ScratchFolder folder;
    const std::string filler(600, 'x');
    std::string safetensors(8, '\0');
    safetensors[0] = 14;
    safetensors += R"({"a":{"b":1}} )" + filler;
    std::string tar(512, '\0');
    tar.replace(257, 5, "ustar");
    std::string lmdb(64, '\0');
    lmdb.replace(16, 4, "\xde\xc0\xef\xbe");
    const std::vector<std::pair<std::string, std::string>> files = {
        {"\x93NUMPY\x01" + filler, "NumPy array"},
        {std::string("\x1f\x8b\x08\0", 4) + filler, "gzip"},
        {"\x28\xb5\x2f\xfd" + filler, "zstd"},
        {std::string("\xfd"
                     "7zXZ\0",
                     6) +
             filler,
         "xz"},
        {"BZh91AY&SY" + filler, "bzip2"},
        {"\x04\x22\x4d\x18" + filler, "lz4"},
        {"PK\x03\x04" + filler, "zip archive"},
        {tar, "tar archive"},
        {lmdb, "LMDB"},
        {"PAR1" + filler + "PAR1", "Parquet"},
        {std::string("ARROW1\0\0", 8) + filler, "Arrow"},
        {"\x80\x04\x95" + filler + ".", "pickle"},
        {"\x80\x02}" + filler + ".", "pickle"},
        {safetensors, "safetensors"},
        {"GGUF" + filler, "GGUF"},
        {"\x89PNG\r\n\x1a\n" + filler, "PNG"},
        {"\xff\xd8\xff\xe0" + filler, "JPEG"},
        {"%PDF-1.7\n" + filler, "PDF"},
        {"\x89HDF\r\n\x1a\n" + filler, "HDF5"},
        {"\x7f"
         "ELF" +
             filler,
         "ELF"},
        {"\xff\xfe" + filler, "UTF-16"},
        {"\xfe\xff" + filler, "UTF-16"},
        {std::string("\xff\xfe\0\0", 4) + filler, "UTF-32"},
        {std::string("\0\0\xfe\xff", 4) + filler, "UTF-32"}};
    for (const auto& [bytes, name] : files) {
        SCOPED_TRACE(name);
        for (const char* file : {"x.txt", "x", "x.bin"}) {
            const auto path = folder.write(file, bytes);
            expect_data_error([&] { open_file(path, 65536); }, {name, file});
        }
        // Stating a format does not make it text.
        expect_data_error([&] { open_file(folder / "x", 65536, 0, DataFormat::text); }, {name});
    }
    // The same words in a text.
    for (const char* text : {"PAR1 is a mark.", "ORC", "BZh9", "GGU", "ustar"})
        EXPECT_THAT(open_file(folder.write("y.txt", text)).warnings(), IsEmpty()) << text;
}

TEST(ContentDoubt, TokensWithoutAnEndingAreNoText) {
    const ScratchFolder folder;
    const auto tokens = tokens_below(50257);
    for (const std::string& bytes :
         {stored<std::uint16_t>(tokens), stored<std::uint32_t>(tokens), stored<std::int64_t>(tokens)}) {
        expect_data_error([&] { open_file(folder.write("tokens", bytes)); }, {"control characters", "nanogpt"});
        EXPECT_THAT(open_file(folder / "tokens", 50257, 0, DataFormat::text).warnings(),
                    ::testing::ElementsAre(HasSubstr("control characters")));  // its bytes may be meant
    }
    expect_data_error(
        [&] {
            open_file(folder.write("tokens", stored<std::uint16_t>({'T', 'h', 'e', ' ', 'e', 'n', 'd'})));
        },
        {"every second byte is 0"});
    EXPECT_EQ(open_file(folder.write("tokens", stored<std::uint16_t>(tokens)), 50257, 0, DataFormat::nanogpt).tokens(),
              std::ssize(tokens));
}

TEST(ContentDoubt, WhatCouldBeTextIsReadWithAWarning) {
    const ScratchFolder folder;
    const auto warnings = [&](const std::string& text) { return open_file(folder.write("x.txt", text)).warnings(); };
    EXPECT_THAT(warnings("Plain text\twith tabs,\r\nline ends and \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80.\n"),
                IsEmpty());
    EXPECT_THAT(warnings("In Latin 1: caf\xe9."), ::testing::ElementsAre(HasSubstr("not UTF-8 throughout: byte 15")));
    EXPECT_THAT(warnings(std::string(500, 'x') + '\0'), ::testing::ElementsAre(HasSubstr("control characters")));
    // Characters of several bytes over the edges of the blocks that are looked at.
    std::string long_text;
    while (long_text.size() < (std::size_t{3} << 20)) long_text += "\xe2\x82\xac";
    EXPECT_THAT(warnings(long_text), IsEmpty());
    EXPECT_THAT(warnings("x" + long_text), IsEmpty());
}

}  // namespace
}  // namespace smp::runtime
