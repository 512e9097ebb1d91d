#include "runtime/data/token_file.h"

#include <cstring>
#include <numeric>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::content;
using ::testing::ElementsAre;
using testing::expect_data_error;
using testing::golden;
using testing::ScratchFolder;

using Tokens = std::vector<std::int64_t>;

Tokens tokens_of(const TokenFile& file) {
    Tokens tokens(file.tokens());
    file.read(0, tokens);
    return tokens;
}

TokenFile open_file(const std::filesystem::path& path, std::int64_t vocab_size = 50257,
                    DataFormat format = DataFormat::automatic) {
    return {path, {.format = format, .vocab_size = vocab_size, .tokenizer = nullptr}};
}

TEST(TokenFile, ReadsWhatOtherTrainersWrote) {
    const auto expected = nlohmann::json::parse(content(golden("formats/expected.json")));
    const auto tokens = expected["tokens"].get<Tokens>();
    struct Case {
        const char* name;
        DataFormat format;
        TokenType type;
    };
    for (const auto& [name, format, type] : {Case{"nanogpt.bin", DataFormat::nanogpt, TokenType::uint16},
                                             {"llmc.bin", DataFormat::llmc, TokenType::uint16},
                                             {"megatron_uint16.bin", DataFormat::megatron, TokenType::uint16},
                                             {"megatron_int32.bin", DataFormat::megatron, TokenType::int32}}) {
        SCOPED_TRACE(name);
        for (const DataFormat asked : {DataFormat::automatic, format}) {
            const TokenFile file = open_file(golden("formats") / name, 50257, asked);
            EXPECT_EQ(file.format(), format);
            EXPECT_EQ(file.type(), type);
            EXPECT_EQ(tokens_of(file), tokens);
            if (format == DataFormat::megatron) {
                EXPECT_EQ(file.documents(), expected["documents"].get<std::int64_t>());
            } else {
                EXPECT_FALSE(file.documents().has_value());
            }
        }
    }
}

TEST(TokenFile, ReadsAnyRange) {
    const ScratchFolder folder;
    const TokenFile file = open_file(folder.write_tokens<std::uint16_t>("x.bin", {5, 6, 7, 8}));
    Tokens some(2);
    file.read(1, some);
    EXPECT_THAT(some, ElementsAre(6, 7));
    file.read(4, std::span<std::int64_t>());
    EXPECT_THROW(file.read(3, some), std::logic_error);
    EXPECT_THROW(file.read(-1, some), std::logic_error);
}

TEST(TokenFile, WidthOfNanogptFollowsTheVocabulary) {
    const ScratchFolder folder;
    const auto path = folder.write_tokens<std::uint16_t>("x.bin", {65535, 0, 1, 0});
    EXPECT_THAT(tokens_of(open_file(path, 65536)), ElementsAre(65535, 0, 1, 0));
    EXPECT_THAT(tokens_of(open_file(path, 65537)), ElementsAre(65535, 1));
    expect_data_error([&] { open_file(folder.write("odd.bin", "12345")); },
                      {"odd.bin\" is 5 bytes long, no multiple of 2", "nanogpt", "data.format"});
    expect_data_error([&] { open_file(folder.write("odd.bin", "123456"), 70000); }, {"no multiple of 4"});
}

/// llm.c's format from its parts.
std::string llmc(std::int32_t magic, std::int32_t version, std::int32_t count, const std::string& body) {
    std::vector<std::int32_t> header(256);
    header[0] = magic;
    header[1] = version;
    header[2] = count;
    return std::string(reinterpret_cast<const char*>(header.data()), 1024) + body;
}

TEST(TokenFile, LlmcHeaderHasToAgree) {
    const ScratchFolder folder;
    const auto file = [&](const std::string& bytes) { return folder.write("x.bin", bytes); };
    EXPECT_THAT(tokens_of(open_file(file(llmc(20240520, 1, 2, std::string("\1\0\2\0", 4))))), ElementsAre(1, 2));
    EXPECT_THAT(tokens_of(open_file(file(llmc(20240801, 7, 2, std::string("\1\0\1\0\2\0\0\0", 8))), 128256)),
                ElementsAre(65537, 2));
    expect_data_error([&] { open_file(file(llmc(20240520, 1, 3, "1234"))); },
                      {"4 bytes of tokens", "promises 3 uint16", "byte 8", "truncated"});
    expect_data_error([&] { open_file(file(llmc(20240520, 1, 1, "1234"))); },
                      {"4 bytes of tokens", "promises 1 uint16"});
    expect_data_error([&] { open_file(file(llmc(20240520, 1, -2, "1234"))); }, {"promises -2"});
    expect_data_error([&] { open_file(file(llmc(20240520, 2, 2, "1234"))); }, {"version 2 at byte 4", "1 is known"});
    expect_data_error([&] { open_file(file(llmc(20240801, 1, 1, "1234"))); }, {"version 1 at byte 4", "7 is known"});
    expect_data_error([&] { open_file(file(llmc(20240520, 1, 2, "1234").substr(0, 1000))); },
                      {"1000 bytes long, shorter than llm.c's header of 1024"});
    expect_data_error([&] { open_file(file(llmc(1, 1, 2, "1234")), 50257, DataFormat::llmc); },
                      {"magic 1 at byte 0", "20240520"});
}

/// A Megatron pair from its parts.
struct Pair {
    std::string magic{"MMIDIDX\0\0", 9};
    std::uint64_t version = 1;
    std::uint8_t type = 8;
    std::vector<std::int32_t> lengths{2, 0, 3};
    std::vector<std::int64_t> positions{0, 4, 4};
    std::vector<std::int64_t> documents{0, 2, 3};
    std::string modes;
    std::string data{"\1\0\2\0\3\0\4\0\5\0", 10};

    std::string index() const {
        std::string bytes = magic;
        const auto add = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
        add(version);
        add(type);
        add(std::uint64_t{lengths.size()});
        add(std::uint64_t{documents.size()});
        for (const auto value : lengths) add(value);
        for (const auto value : positions) add(value);
        for (const auto value : documents) add(value);
        return bytes + modes;
    }
    std::filesystem::path write(const ScratchFolder& folder) const {
        folder.write("m.idx", index());
        return folder.write("m.bin", data);
    }
};

TEST(TokenFile, MegatronTypesAreAllRead) {
    const ScratchFolder folder;
    const auto check = [&]<class T>(std::uint8_t code, T) {
        const std::vector<T> tokens{1, 2, 100};
        Pair pair;
        pair.type = code;
        pair.lengths = {3};
        pair.positions = {0};
        pair.documents = {0, 1};
        pair.data = std::string(reinterpret_cast<const char*>(tokens.data()), 3 * sizeof(T));
        EXPECT_THAT(tokens_of(open_file(pair.write(folder))), ElementsAre(1, 2, 100)) << int{code};
    };
    check(1, std::uint8_t{});
    check(2, std::int8_t{});
    check(3, std::int16_t{});
    check(4, std::int32_t{});
    check(5, std::int64_t{});
    check(8, std::uint16_t{});
}

TEST(TokenFile, MegatronPairHasToAgree) {
    const ScratchFolder folder;
    const auto refused = [&](auto change, const std::vector<std::string>& parts) {
        Pair pair;
        change(pair);
        pair.write(folder);
        expect_data_error([&] { open_file(folder / "m.bin"); }, parts);
    };
    EXPECT_THAT(tokens_of(open_file(Pair().write(folder))), ElementsAre(1, 2, 3, 4, 5));
    EXPECT_EQ(open_file(folder / "m.bin").documents(), 2);
    Pair multimodal;
    multimodal.modes = "\0\1\0";
    EXPECT_EQ(open_file(multimodal.write(folder)).tokens(), 5);

    refused([](Pair& p) { p.magic = std::string("TNTIDX\0\0\0", 9); }, {"m.idx\" is an index of fairseq's old format"});
    refused([](Pair& p) { p.magic = "something"; }, {"m.idx\" does not begin with \"MMIDIDX\""});
    refused([](Pair& p) { p.version = 2; }, {"version 2 at byte 9"});
    refused([](Pair& p) { p.type = 7; }, {"type 7 at byte 17, which is floating point"});
    refused([](Pair& p) { p.type = 9; }, {"type 9 at byte 17, which is unknown"});
    refused([](Pair& p) { p.modes = "x"; },
            {"m.idx\" is 95 bytes long", "3 sequences (byte 18) and 3 document entries (byte 26)"});
    refused([](Pair& p) { p.lengths[0] = -2; }, {"sequence 0 has -2 tokens (byte 34)"});
    refused([](Pair& p) { p.positions[2] = 6; }, {"sequence 2", "at position 6 (byte 62)", "ends at 4"});
    refused([](Pair& p) { p.data.resize(8); }, {"m.bin\" is 8 bytes long", "describes 10 bytes of uint16"});
    refused([](Pair& p) { p.data += "xx"; }, {"m.bin\" is 12 bytes long", "describes 10"});
    refused([](Pair& p) { p.documents[1] = 4; }, {"document entry 1 (byte 78) is sequence 4"});
    refused([](Pair& p) { p.documents[2] = 1; }, {"document entry 2 (byte 86) is sequence 1, which is not in 2 to 3"});

    // Counts that make the expected size wrap around.
    Pair pair;
    pair.write(folder);
    for (const std::uint64_t count : {UINT64_MAX, UINT64_MAX / 12 + 2, std::uint64_t{1} << 61}) {
        for (const std::size_t at : {18U, 26U}) {
            std::string bytes = pair.index();
            std::memcpy(bytes.data() + at, &count, 8);
            folder.write("m.idx", bytes);
            expect_data_error([&] { open_file(folder / "m.bin"); }, {"truncated or damaged"});
        }
    }
    std::filesystem::remove(folder / "m.idx");
    expect_data_error([&] { open_file(folder / "m.bin", 50257, DataFormat::megatron); }, {"m.idx\" does not exist"});
    expect_data_error([&] { open_file(folder / "m", 50257, DataFormat::megatron); },
                      {"m\" does not exist, but", "m.bin\" does"});
}

TEST(TokenFile, TokensOutsideTheVocabularyAreFoundAtOpen) {
    const ScratchFolder folder;
    const auto path = folder.write_tokens<std::uint16_t>("x.bin", std::vector<std::uint16_t>(10000, 511));
    EXPECT_EQ(open_file(path, 512).tokens(), 10000);
    expect_data_error([&] { open_file(path, 511); },
                      {"x.bin\": token 0 (byte 0, uint16) is 511, outside the vocabulary of 511", "model.vocab_size"});
    std::vector<std::uint16_t> tokens(10000, 1);
    tokens[9999] = 600;
    expect_data_error([&] { open_file(folder.write_tokens("x.bin", tokens), 512); },
                      {"token 9999 (byte 19998, uint16) is 600"});
    folder.write("x.bin", llmc(20240520, 1, 2, std::string("\1\0\0\3", 4)));
    expect_data_error([&] { open_file(folder / "x.bin", 512); }, {"token 1 (byte 1026, uint16) is 768"});
    Pair negative;
    negative.type = 3;
    negative.data[9] = '\x80';
    expect_data_error([&] { open_file(negative.write(folder)); }, {"token 4 (byte 8, int16) is -32763"});
    const TokenFile unchecked(folder / "m.bin", {.vocab_size = 10, .check_tokens = false});
    EXPECT_EQ(tokens_of(unchecked)[4], -32763);

    const auto tokenizer = make_byte_tokenizer();
    const TokenFileOptions options{.vocab_size = 100, .tokenizer = tokenizer.get()};
    expect_data_error(
        [&] { TokenFile(folder.write("x.txt", "abcz"), options); },
        {"token 3 of the text is 122", "tokenizer bytes has 256 tokens", "model.vocab_size to 256 or more"});
    EXPECT_EQ(TokenFile(folder.write("x.txt", "abc"), options).tokens(), 3);
}

TEST(TokenFile, InLargeFilesTheyAreFoundWhenTheyAreRead) {
    const ScratchFolder folder;
    const auto path = folder.write_tokens<std::uint16_t>("x.bin", {1, 2, 9999, 3});
    std::filesystem::resize_file(path, TokenFile::kCheckedAtOpenBytes + 2);  // sparse: zeros follow
    const TokenFile file = open_file(path, 512);
    Tokens some(2);
    file.read(0, some);
    expect_data_error([&] { file.read(1, some); }, {"token 2 (byte 4, uint16) is 9999"});
}

TEST(TokenFile, FormatIsRecognised) {
    const ScratchFolder folder;
    const auto tokenizer = make_byte_tokenizer();
    const auto format = [&](const char* name, const std::string& bytes) {
        return TokenFile(folder.write(name, bytes), {.vocab_size = 65536, .tokenizer = tokenizer.get()}).format();
    };
    EXPECT_EQ(format("a.bin", "ab"), DataFormat::nanogpt);
    EXPECT_EQ(format("b.bin", llmc(20240520, 1, 0, "")), DataFormat::llmc);
    EXPECT_EQ(format("c", llmc(20240520, 1, 0, "")), DataFormat::llmc);
    EXPECT_EQ(format("c.txt", llmc(20240520, 1000, 0, "").replace(12, 1012, 1012, 'x')), DataFormat::text);
    EXPECT_EQ(format("d", "ab"), DataFormat::text);
    Pair().write(folder);
    EXPECT_EQ(open_file(folder / "m.bin").format(), DataFormat::megatron);
}

TEST(TokenFile, WhatIsNoFileIsRefused) {
    const ScratchFolder folder;
    expect_data_error([&] { open_file(folder / "none.bin"); }, {"none.bin\" does not exist"});
    expect_data_error([&] { open_file(folder.path()); }, {"is a directory"});
    expect_data_error([&] { open_file(folder.write("empty.bin", "")); }, {"empty.bin\" is empty"});
    expect_data_error([&] { open_file("/dev/null"); }, {"is no regular file"});
    if (::geteuid() == 0) return;  // root may read everything
    std::filesystem::permissions(folder.write("secret.bin", "ab"), std::filesystem::perms::none);
    expect_data_error([&] { open_file(folder / "secret.bin"); }, {"may not be read by this user"});
}

// Whatever happens to a file, it is refused by a sentence or all of it can be read.
RC_GTEST_PROP(TokenFile, DamagedFilesAreRefusedOrWhole, ()) {
    const ScratchFolder folder;
    const auto format = *rc::gen::element(DataFormat::nanogpt, DataFormat::llmc, DataFormat::megatron);
    std::string bytes(20, '\1'), index;
    if (format == DataFormat::llmc) bytes = llmc(20240520, 1, 10, bytes);
    if (format == DataFormat::megatron) {
        index = Pair().index();
        bytes = Pair().data;
    }
    std::string& victim = index.empty() ? bytes : index;
    for (int flips = *rc::gen::inRange(0, 4); flips > 0; --flips) {
        victim[*rc::gen::inRange<std::size_t>(0, victim.size())] = *rc::gen::arbitrary<char>();
    }
    std::string& shorter = *rc::gen::arbitrary<bool>() ? bytes : victim;
    shorter.resize(*rc::gen::inRange<std::size_t>(0, shorter.size() + 4));
    folder.write("m.bin", bytes);
    if (format == DataFormat::megatron) folder.write("m.idx", index);
    try {
        const TokenFile file = open_file(folder / "m.bin", 50257, format);
        for (const std::int64_t token : tokens_of(file)) RC_ASSERT(token >= 0 && token < 50257);
    } catch (const DataError& error) {
        const std::string_view message = error.what();
        RC_ASSERT(message.ends_with("."));
        RC_ASSERT(message.find("m.bin") != message.npos || message.find("m.idx") != message.npos);
    }
}

}  // namespace
}  // namespace smp::runtime
