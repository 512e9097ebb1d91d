#include "runtime/data/token_file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "runtime/data/token_file.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::content;
using testing::expect_data_error;
using testing::golden;
using testing::ScratchFolder;

using Tokens = std::vector<std::int64_t>;

void write(const std::filesystem::path& path, DataFormat format, std::int64_t vocab_size,
           const std::vector<Tokens>& documents, OutputFile::Existing existing = OutputFile::Existing::keep) {
    TokenFileWriter writer(path, format, vocab_size, existing);
    for (const Tokens& document : documents) {
        writer.append(document);
        writer.end_document();
    }
    writer.finish();
}

TEST(TokenFileWriter, WritesTheBytesThatOtherTrainersWrite) {
    const auto expected = nlohmann::json::parse(content(golden("formats/expected.json")));
    const auto tokens = expected["tokens"].get<Tokens>();
    std::vector<Tokens> documents;
    auto next = tokens.begin();
    for (const auto length : expected["lengths"].get<Tokens>()) {
        documents.emplace_back(next, next + length);
        next += length;
    }
    const ScratchFolder folder;
    write(folder / "nanogpt.bin", DataFormat::nanogpt, 50257, documents);
    write(folder / "llmc.bin", DataFormat::llmc, 50257, documents);
    write(folder / "megatron_uint16.bin", DataFormat::megatron, 50257, documents);
    write(folder / "megatron_int32.bin", DataFormat::megatron, 70000, documents);
    for (const char* name : {"nanogpt.bin", "llmc.bin", "megatron_uint16.bin", "megatron_uint16.idx",
                             "megatron_int32.bin", "megatron_int32.idx"}) {
        EXPECT_TRUE(content(folder / name) == content(golden("formats") / name)) << name;
    }
}

RC_GTEST_PROP(TokenFileWriter, WhatIsWrittenIsRead, ()) {
    const auto format = *rc::gen::element(DataFormat::nanogpt, DataFormat::llmc, DataFormat::megatron);
    const auto vocab_size = *rc::gen::element<std::int64_t>(256, 50257, 65499, 65500, 65536, 65537, 2147483647);
    const auto documents = *rc::gen::container<std::vector<Tokens>>(
        rc::gen::container<Tokens>(rc::gen::inRange<std::int64_t>(0, vocab_size)));
    Tokens all;
    std::int64_t filled = 0;
    for (const Tokens& document : documents) {
        all.insert(all.end(), document.begin(), document.end());
        filled += document.empty() ? 0 : 1;
    }
    const ScratchFolder folder;
    if (all.empty()) {
        RC_ASSERT_THROWS_AS(write(folder / "x.bin", format, vocab_size, documents), DataError);
        RC_ASSERT(std::filesystem::is_empty(folder.path()));
        return;
    }
    write(folder / "x.bin", format, vocab_size, documents);
    const TokenFile file(folder / "x.bin", {.vocab_size = vocab_size, .tokenizer = nullptr});
    RC_ASSERT(file.format() == format);
    Tokens read(file.tokens());
    file.read(0, read);
    RC_ASSERT(read == all);
    if (format == DataFormat::megatron) RC_ASSERT(file.documents() == filled);
}

TEST(TokenFileWriter, RefusesWhatWouldBeMistaken) {
    const ScratchFolder folder;
    write(folder / "m.bin", DataFormat::megatron, 300, {{1, 2}});
    expect_data_error([&] { write(folder / "m.bin", DataFormat::megatron, 300, {{1}}); }, {"exists already"});
    // With --force the pair's .bin could become another format, and the .idx stay behind.
    expect_data_error([&] { write(folder / "m.bin", DataFormat::nanogpt, 300, {{1}}, OutputFile::Existing::replace); },
                      {"m.idx\" lies beside", "Megatron pair", "remove it"});
    write(folder / "m.bin", DataFormat::megatron, 300, {{3}}, OutputFile::Existing::replace);
    EXPECT_EQ(TokenFile(folder / "m.bin", {.vocab_size = 300, .tokenizer = nullptr}).tokens(), 1);
    expect_data_error([&] { write(folder / "m.data", DataFormat::megatron, 300, {{1}}); }, {"does not end in .bin"});
    expect_data_error([&] { write(folder / "e.bin", DataFormat::llmc, 300, {}); }, {"would hold no tokens"});
    EXPECT_THROW(write(folder / "e.bin", DataFormat::llmc, 300, {{300}}), std::logic_error);
    EXPECT_THROW(write(folder / "e.bin", DataFormat::text, 300, {{1}}), std::logic_error);
    EXPECT_FALSE(std::filesystem::exists(folder / "e.bin"));
}

}  // namespace
}  // namespace smp::runtime
