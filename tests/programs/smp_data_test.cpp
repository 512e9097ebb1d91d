// smp_data as users run it. If these fail, its files, messages or exit codes are not what INTERFACE promises.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kProgram = program("smp_data") + " ";

Outcome smp_data(const std::string& arguments) { return run(kProgram + arguments); }

std::string in_repository(const std::string& path) { return std::string(SMP_SOURCE_DIR) + "/" + path; }

std::string some_text() {
    std::string text;
    for (int i = 0; i < 30000; ++i)
        text += fmt::format("Line {} has words: naïve café, {}.\n{}", i, i * i, i % 7 == 0 ? "\n" : "");
    return text;
}

TEST(SmpData, TextComesBackFromEveryFormatByEveryTokenizer) {
    const Folder folder;
    const std::string text = some_text();
    folder.write("text.txt", text);
    for (const std::string format : {"nanogpt", "llmc", "megatron"}) {
        for (const std::string tokenizer : {"bytes", "gpt2"}) {
            SCOPED_TRACE(format + " " + tokenizer);
            const std::string bin = folder / (format + tokenizer + ".bin");
            const Outcome encoded = smp_data(fmt::format("encode --input {} --output {} --format {} --tokenizer {}",
                                                         folder / "text.txt", bin, format, tokenizer));
            ASSERT_EQ(encoded.exit_code, 0) << encoded.output;
            EXPECT_THAT(encoded.output, StartsWith(bin + ": "));
            const Outcome to_file = smp_data(
                fmt::format("decode {} --tokenizer {} --output {}", bin, tokenizer, folder / "back.txt --force"));
            EXPECT_EQ(to_file.exit_code, 0);
            EXPECT_EQ(to_file.output, "");
            EXPECT_TRUE(read_text(folder / "back.txt") == text);
            EXPECT_TRUE(smp_data(fmt::format("decode {} --tokenizer {}", bin, tokenizer)).output == text);
        }
    }
}

TEST(SmpData, MakesTheFilesThatMegatronMakes) {
    const Folder folder;
    // The documents of the golden files, each an object with its text.
    const Outcome decoded = smp_data("decode --tokenizer gpt2 " + in_repository("tests/golden/formats/nanogpt.bin"));
    ASSERT_EQ(decoded.exit_code, 0) << decoded.output;
    const std::string separator = "<|endoftext|>";
    std::string lines;
    for (std::size_t first = 0, end; (end = decoded.output.find(separator, first)) != std::string::npos;
         first = end + separator.size()) {
        lines += nlohmann::json{{"content", decoded.output.substr(first, end - first)}}.dump() + "\n";
    }
    folder.write("documents.jsonl", lines);
    const Outcome encoded =
        smp_data(fmt::format("encode --input {} --documents jsonl --json-key content --append-eot --tokenizer gpt2 "
                             "--format megatron --output {}",
                             folder / "documents.jsonl", folder / "m.bin"));
    ASSERT_EQ(encoded.exit_code, 0) << encoded.output;
    EXPECT_TRUE(read_text(folder / "m.bin") == read_text(in_repository("tests/golden/formats/megatron_uint16.bin")));
    EXPECT_TRUE(read_text(folder / "m.idx") == read_text(in_repository("tests/golden/formats/megatron_uint16.idx")));
}

TEST(SmpData, TakesSeveralFilesAndGlobsInTheirOrder) {
    const Folder folder;
    folder.write("b.txt", "two ");
    folder.write("a.txt", "one ");
    folder.write("c.md", "three");
    ASSERT_EQ(smp_data(fmt::format("encode '{}' {} --output {}", folder / "*.txt", folder / "c.md", folder / "x.bin"))
                  .exit_code,
              0);
    EXPECT_EQ(smp_data("decode " + (folder / "x.bin")).output, "one two three");
    EXPECT_EQ(smp_data(fmt::format("decode {} --first 4 --count 3", folder / "x.bin")).output, "two");
}

TEST(SmpData, EndOfTextIsATokenWhereItIsAskedFor) {
    const Folder folder;
    folder.write("x.txt", "a<|endoftext|>b\n\n \n\nc");
    const auto tokens = [&](const std::string& options) {
        const Outcome encoded = smp_data(fmt::format("encode {} --tokenizer gpt2 --output {} --force {}",
                                                     folder / "x.txt", folder / "x.bin", options));
        EXPECT_EQ(encoded.exit_code, 0) << encoded.output;
        const std::string bytes = read_text(folder / "x.bin");
        std::vector<std::uint16_t> values(bytes.size() / 2);
        std::memcpy(values.data(), bytes.data(), 2 * values.size());
        return values;
    };
    EXPECT_THAT(tokens(""), ::testing::Not(::testing::Contains(50256)));
    EXPECT_THAT(tokens("--special-tokens --documents paragraph"), ::testing::ElementsAre(64, 50256, 65, 66));
    EXPECT_THAT(tokens("--special-tokens --documents paragraph --append-eot"),
                ::testing::ElementsAre(64, 50256, 65, 50256, 66, 50256));
    EXPECT_EQ(tokens("--append-eot").back(), 50256);
}

TEST(SmpData, InspectShowsWhatIsInAFile) {
    const Outcome megatron = smp_data("inspect " + in_repository("tests/golden/formats/megatron_int32.bin"));
    EXPECT_EQ(megatron.exit_code, 0);
    for (const char* part :
         {"megatron, int32", "tokens     15409", "documents  400", "largest    50256", "tokenizer gpt2"}) {
        EXPECT_THAT(megatron.output, HasSubstr(part));
    }
    // The index as well as the .bin stands for the pair.
    EXPECT_EQ(smp_data("inspect " + in_repository("tests/golden/formats/megatron_int32.idx")).output, megatron.output);
    const Outcome all = smp_data(fmt::format("inspect '{}'", in_repository("tests/golden/formats/*.bin")));
    EXPECT_EQ(all.count("tokens     15409"), 4);
    EXPECT_THAT(all.output, HasSubstr("llmc, uint16"));
    EXPECT_THAT(all.output, HasSubstr("nanogpt, uint16"));

    const Folder folder;
    folder.write("x.txt", "a \"quoted\"\nline\t\x01");
    EXPECT_THAT(smp_data("inspect " + (folder / "x.txt")).output,
                HasSubstr("text       \"a \\\"quoted\\\"\\nline\\t\\x01\" (tokenizer bytes)"));
}

TEST(SmpData, ConfigurationSaysTokenizerVocabularyAndFiles) {
    const Folder folder;
    folder.write("x.txt", "Hello, world!");
    folder.write("job.json", R"({"model": {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 2, "vocab_size": 600},
        "training": {"steps": 1, "batch_size": 1}, "data": {"train": "x.txt", "tokenizer": "gpt2"}})");
    const Outcome inspected = smp_data("inspect --config " + (folder / "job.json"));
    EXPECT_EQ(inspected.exit_code, 0);
    for (const char* part : {"text, by tokenizer gpt2", "tokens     4", "samples    1 of training.sequence_length 2",
                             "outside the vocabulary of 600"}) {
        EXPECT_THAT(inspected.output, HasSubstr(part));
    }
    EXPECT_THAT(smp_data(fmt::format("inspect --config {} --set data.tokenizer=bytes", folder / "job.json")).output,
                HasSubstr("tokens     13"));
    EXPECT_EQ(smp_data(fmt::format("encode --config {} {} --output {}", folder / "job.json", folder / "x.txt",
                                   folder / "x.bin"))
                  .exit_code,
              0);
    EXPECT_EQ(read_text(folder / "x.bin").size(), 8U);
}

TEST(SmpData, KeepsFilesThatExist) {
    const Folder folder;
    folder.write("x.txt", "text");
    folder.write("x.bin", "precious");
    const std::string command = fmt::format("encode {} --output {}", folder / "x.txt", folder / "x.bin");
    const Outcome refused = smp_data(command);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.output, HasSubstr("exists already; choose another name, or add --force"));
    EXPECT_EQ(read_text(folder / "x.bin"), "precious");
    EXPECT_EQ(smp_data(command + " --force").exit_code, 0);
    EXPECT_EQ(read_text(folder / "x.bin").size(), 8U);
}

TEST(SmpData, LeavesNothingBehindWhenItFails) {
    const Folder folder;
    folder.write("x.jsonl", "{\"text\": \"fine\"}\n{\"txt\": 1}\n");
    const Outcome failed =
        smp_data(fmt::format("encode {} --documents jsonl --output {}", folder / "x.jsonl", folder / "x.bin"));
    EXPECT_EQ(failed.exit_code, 3);
    EXPECT_THAT(failed.output,
                HasSubstr("x.jsonl\", line 2: the object has no text under \"text\"; name the key by --json-key."));
    EXPECT_EQ(run("ls " + (folder / "")).output, "x.jsonl\n");
}

TEST(SmpData, AReaderThatLeavesIsNoError) {
    const Folder folder;
    folder.write("x.txt", some_text());
    const Outcome outcome = run(
        fmt::format("bash -c 'set -o pipefail; {} decode {} --format text | head -c 10'", kProgram, folder / "x.txt"));
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.output, "Line 0 has");
    const Outcome full = run(fmt::format("{} decode {} --format text > /dev/full", kProgram, folder / "x.txt"));
    EXPECT_EQ(full.exit_code, 3);
    EXPECT_THAT(full.output, HasSubstr("standard output cannot be written: No space left"));
}

TEST(SmpData, ExplainsItself) {
    const Outcome help = smp_data("--help");
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.output, HasSubstr("Example"));
    for (const char* command : {"encode", "inspect", "decode"}) {
        const Outcome one = smp_data(fmt::format("{} --help", command));
        EXPECT_EQ(one.exit_code, 0);
        EXPECT_THAT(one.output, HasSubstr(fmt::format("Examples:\n  smp_data {}", command)));
    }
    const Outcome version = smp_data("--version");
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_THAT(version.output, StartsWith("smp_data "));
    EXPECT_EQ(smp_data("decode --version").output, version.output);
}

TEST(SmpData, WrongCommandLinesAreSentencesWithExitCode2) {
    const Folder folder;
    folder.write("x.txt", "text");
    const std::string file = folder / "x.txt";
    const auto refused = [](const std::string& arguments, const std::string& part) {
        const Outcome outcome = smp_data(arguments);
        EXPECT_EQ(outcome.exit_code, 2) << arguments;
        EXPECT_THAT(outcome.output, StartsWith("smp_data: error: "));
        EXPECT_THAT(outcome.output, HasSubstr(part));
        EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
    };
    refused("", "command is missing: encode, inspect or decode");
    refused("encrypt x", "\"encrypt\" is unknown");
    refused("encode " + file, "--output is missing");
    refused("encode --output x.bin", "--input is missing");
    refused("encode --bogus", "bogus");
    refused("encode " + file + " --output x.bin --format text",
            "--format is \"text\"; allowed are nanogpt, llmc, megatron");
    refused("encode " + file + " --output x.bin --tokenizer bpe", "--tokenizer is \"bpe\"; allowed are bytes, gpt2");
    refused("encode " + file + " --output x.bin --append-eot", "--append-eot needs a tokenizer");
    refused("encode " + file + " --output x.bin --json-key a", "--json-key");
    refused("encode " + file + " --output x.bin --tokenizer-file v", "--tokenizer-file");
    refused("inspect " + file + " --set data.tokenizer=gpt2", "--config is missing");
    refused("inspect " + file + " --output x", "output");
    refused("inspect " + file + " --vocab-size 0", "--vocab-size is 0");
    refused("decode " + file + " --first -1", "--first is -1");
    refused("decode " + file + " --first 5", "--first is 5, but");
    refused("decode " + file + " --count many", "many");
}

TEST(SmpData, MissingAndDamagedFilesAreSentencesWithExitCode3) {
    const Folder folder;
    const auto refused = [](const std::string& arguments, const std::string& part) {
        const Outcome outcome = smp_data(arguments);
        EXPECT_EQ(outcome.exit_code, 3) << arguments;
        EXPECT_THAT(outcome.output, StartsWith("smp_data: error: "));
        EXPECT_THAT(outcome.output, HasSubstr(part));
        EXPECT_THAT(outcome.output, EndsWith(".\n"));
        EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
    };
    refused("inspect none.bin", "none.bin\" does not exist");
    refused("inspect '" + (folder / "*.bin") + "'", "no file matches");
    refused("inspect " + folder.write("odd.bin", "abc"), "3 bytes long, no multiple of 2");
    refused("inspect " + folder.write("empty.bin", ""), "is empty");
    refused("decode " + in_repository("tests/golden/formats/nanogpt.bin"),
            "but tokenizer bytes has tokens 0 to 255; name the tokenizer");
    refused(fmt::format("encode {} --output {}", folder.write("x.txt", "x"), folder / "none/x.bin"),
            "create its folder first");
    refused(fmt::format("encode {} --output {} --tokenizer gpt2 --tokenizer-file {}", folder / "x.txt",
                        folder / "x.bin", folder / "x.txt"),
            "data.tokenizer_file: ");
}

TEST(SmpData, EncodesTextsAndNothingElse) {
    const Folder folder;
    const auto encode = [&](const std::string& inputs) {
        return smp_data(fmt::format("encode {} --force --output {}", inputs, folder / "x.bin"));
    };
    folder.write("a.txt", "some text");
    folder.write("b.txt", "");
    folder.write("caf\xe9.txt", "more");
    const Outcome all = encode("--input '" + (folder / "*.txt") + "'");
    EXPECT_EQ(all.exit_code, 0) << all.output;
    EXPECT_THAT(all.output, HasSubstr("b.txt\" is empty"));
    EXPECT_THAT(all.output, HasSubstr("13 tokens"));
    EXPECT_EQ(encode((folder / "caf\xe9.txt")).exit_code, 0);
    const Outcome array = encode(folder.write("array.npy", "\x93NUMPY" + std::string(100, '\0')));
    EXPECT_EQ(array.exit_code, 3);
    EXPECT_THAT(array.output, HasSubstr("is a NumPy array"));
    const Outcome unreadable = smp_data("inspect " + (folder / "caf\xe9\x1b.txt"));
    EXPECT_EQ(unreadable.exit_code, 3);
    EXPECT_THAT(unreadable.output, HasSubstr("caf\\xe9\\x1b.txt"));
}

TEST(SmpData, AFileThatOutgrowsTheUsersLimitIsASentence) {
    const Folder folder;
    folder.write("a.txt", std::string(4 << 20, 'x'));
    const Outcome outcome =
        run(fmt::format("ulimit -f 1024; {} encode {} --output {}", kProgram, folder / "a.txt", folder / "a.bin"));
    EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("a.bin\" cannot be written: File too large; raise the limit"));
}

TEST(SmpData, TokensOfAnotherWidthAreSeen) {
    const Folder folder;
    std::string wide;
    for (int i = 0; i < 100; ++i) wide += std::string{static_cast<char>('a' + i % 26), '\0', '\0', '\0'};
    folder.write("wide.bin", wide);
    const Outcome inspected = smp_data("inspect " + (folder / "wide.bin"));
    EXPECT_EQ(inspected.exit_code, 0);
    EXPECT_THAT(inspected.output, HasSubstr("looks like 4-byte integers"));
    EXPECT_EQ(smp_data("decode " + (folder / "wide.bin")).exit_code, 3);
    EXPECT_THAT(smp_data("decode --token-bytes 4 " + (folder / "wide.bin")).output, StartsWith("abcdefg"));
    EXPECT_THAT(smp_data("inspect --token-bytes 4 " + (folder / "wide.bin")).output, HasSubstr("nanogpt, uint32"));
    EXPECT_EQ(smp_data("inspect --token-bytes 3 " + (folder / "wide.bin")).exit_code, 2);
}

}  // namespace
}  // namespace smp::testing
