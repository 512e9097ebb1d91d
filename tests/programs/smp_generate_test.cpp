// smp_generate as users run it. If these fail, the text is not what the model says.
#include <algorithm>
#include <cstring>
#include <pty.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/files/safetensors.h"
#include "runtime/files/shown_text.h"
#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kPrompt = "To be, or not";

Outcome smp_generate(const std::string& arguments) { return run(program("smp_generate") + " " + arguments); }
/// What it writes to standard output alone.
std::string text_of(const std::string& arguments) {
    const Outcome outcome = smp_generate(arguments + " 2>/dev/null");
    EXPECT_EQ(outcome.exit_code, 0) << smp_generate(arguments).output;
    return outcome.output;
}
void expect_refused(const std::string& arguments, int code, const std::string& part) {
    const Outcome outcome = smp_generate(arguments);
    EXPECT_EQ(outcome.exit_code, code) << arguments << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(StartsWith("smp_generate: error: "), HasSubstr(part)));
    EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
}
std::string prompt(const std::string& text = kPrompt) { return " --prompt '" + text + "' "; }

/// What a run has drawn after its last evaluation, prompt and all.
std::string last_sample(const std::string& log) {
    const std::string open = "--- sample ---\n", close = "\n--------------";
    const auto begin = log.rfind(open) + open.size();
    return log.substr(begin, log.find(close, begin) - begin);
}

/// Two runs that draw text while they train, longer than their sequences: in fp32 and bf16, in layouts of several
/// ranks.
class SmpGenerate : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        trained_ = std::make_unique<Folder>();
        trained_->write("text.txt", read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt").substr(0, 100'000));
        for (const bool bf16 : {false, true}) {
            const Json job = {
                {"model", {{"n_layer", 2}, {"n_head", 2}, {"n_embd", 32}, {"n_positions", 64}, {"vocab_size", 256}}},
                {"parallel", {{"pipeline_parallel_degree", bf16 ? 1 : 2}, {"microbatches", 2}, {"bf16", bf16}}},
                {"training",
                 {{"steps", 30},
                  {"sequence_length", 48},
                  {"global_batch_size", 8},
                  {"learning_rate", 1e-2},
                  {"seed", 5},
                  {"evaluate_every", 15},
                  {"evaluation_batches", 1},
                  {"sample_tokens", 60},
                  {"sample_prompt", kPrompt}}},
                {"data", {{"train", "text.txt"}, {"validation_fraction", 0.1}}},
                {"checkpoint", {{"every", 15}, {"export", true}}}};
            const std::string name = bf16 ? "bf16" : "fp32";
            const Outcome outcome = run(fmt::format("{} --config {} --output {}", program("smp_train"),
                                                    trained_->write(name + ".json", job.dump()), *trained_ / name));
            ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        }
    }
    static void TearDownTestSuite() { trained_.reset(); }
    static std::string trained(const std::string& name = "fp32") { return *trained_ / name; }

    static std::unique_ptr<Folder> trained_;
    Folder folder_;
};
std::unique_ptr<Folder> SmpGenerate::trained_;

TEST_F(SmpGenerate, DrawsTheTextThatTheTrainingHasDrawn) {
    for (const std::string name : {"fp32", "bf16"}) {
        const std::string log = read_text(trained(name) + "/log.txt");
        const std::string now = text_of(trained(name) + prompt() + "--tokens 60"),
                          before = text_of(trained(name) + "/checkpoints/step_00000015" + prompt() + "--tokens 60");
        ASSERT_THAT(now, AllOf(StartsWith(kPrompt), EndsWith("\n")));
        EXPECT_EQ(runtime::escaped(now), last_sample(log) + "\n") << name;
        EXPECT_EQ(runtime::escaped(before), last_sample(log.substr(0, log.rfind("--- sample ---"))) + "\n") << name;
        EXPECT_NE(now, before);
        EXPECT_EQ(text_of(trained(name) + "/checkpoints" + prompt() + "--tokens 60"), now);
    }
    const Outcome outcome = smp_generate(trained() + prompt() + "--tokens 60");
    EXPECT_THAT(outcome.output, HasSubstr("note: the model was trained on 48 tokens at once"));
    EXPECT_EQ(smp_generate(trained() + prompt() + "--tokens 36").count("note:"), 0);  // 13 + 36 - 1 go in
}

// The token after the prompt is the largest of its last logits, and so on: not what the same code says elsewhere.
TEST_F(SmpGenerate, GreedyTextIsTheLargestLogitEachTime) {
    std::string text = kPrompt;
    const std::string greedy = text_of(trained() + prompt() + "--temperature 0 --tokens 12");
    for (int i = 0; i < 12; ++i) {
        folder_.write("prompt.txt", text);
        ASSERT_EQ(smp_generate(fmt::format("{} --prompt-file {} --logits {}", trained(), folder_ / "prompt.txt",
                                           folder_ / "logits"))
                      .exit_code,
                  0);
        const runtime::SafetensorsFile file(folder_ / "logits");
        for (const auto& entry : file.entries()) {
            if (entry.name == "tokens") {
                ASSERT_EQ(entry.elements(), std::ssize(text));
                std::int64_t last = 0;
                std::memcpy(&last, entry.bytes.data() + entry.bytes.size() - sizeof(last), sizeof(last));
                EXPECT_EQ(last, static_cast<unsigned char>(text.back()));
                continue;
            }
            ASSERT_EQ(entry.shape, (std::vector<std::int64_t>{std::ssize(text), 256}));
            std::vector<float> row(256);
            std::memcpy(row.data(), entry.bytes.data() + entry.bytes.size() - 4 * row.size(), 4 * row.size());
            EXPECT_LT(*std::ranges::min_element(row), *std::ranges::max_element(row));
            ASSERT_EQ(file.entries().size(), 2U);
            text += static_cast<char>(std::ranges::max_element(row) - row.begin());
            break;
        }
    }
    EXPECT_EQ(greedy, text + "\n");
    EXPECT_EQ(text_of(trained() + prompt() + "--top-k 1 --tokens 12 --seed 9"), greedy);
}

TEST_F(SmpGenerate, OptionsChangeWhatIsDrawn) {
    const std::string common = trained() + prompt() + "--tokens 30 ";
    const std::string first = text_of(common + "--seed 7"), second = text_of(common + "--seed 8");
    EXPECT_NE(first, second);
    EXPECT_EQ(text_of(common + "--samples 2 --seed 7"),
              "--- sample 1 of 2, seed 7 ---\n" + first + "--- sample 2 of 2, seed 8 ---\n" + second);
    EXPECT_EQ(text_of(common), text_of(common + "--seed 5"));  // that of the training
    EXPECT_NE(text_of(common + "--seed 7 --temperature 3"), first);
    EXPECT_NE(text_of(common + "--seed 7 --temperature 3 --top-k 4"), text_of(common + "--seed 7 --temperature 3"));
    EXPECT_EQ(text_of(common + "--seed 7 --top-k 256"), first);
    EXPECT_EQ(run(fmt::format("printf %s '{}' | {} {} --prompt-file - --tokens 30 --seed 7", kPrompt,
                              program("smp_generate"), trained()))
                  .output,
              first);
    // Without a prompt the text begins after a line break, which is not shown.
    folder_.write("line", "\n");
    EXPECT_EQ(text_of(trained() + " --tokens 3 --prompt-file " + (folder_ / "line")).substr(1),
              text_of(trained() + " --tokens 3"));
}

TEST_F(SmpGenerate, TakesAModelOfTransformersToo) {
    const std::string greedy = prompt() + "--tokens 20 --temperature 0";
    EXPECT_EQ(text_of(trained() + "/model" + greedy), text_of(trained() + greedy));
    EXPECT_EQ(text_of(trained() + "/model/model.safetensors" + greedy), text_of(trained() + greedy));
    ASSERT_EQ(run(fmt::format("{} import {}/model {}", program("smp_convert"), trained(), folder_ / "step")).exit_code,
              0);
    EXPECT_EQ(text_of(folder_ / "step" + greedy), text_of(trained() + greedy));
}

TEST_F(SmpGenerate, WhatIsNotWholeIsPassedOver) {
    std::filesystem::copy(trained(), folder_ / "run", std::filesystem::copy_options::recursive);
    const std::string file = folder_ / "run/checkpoints/step_00000030/rank_00001.safetensors";
    std::string bytes = read_text(file);
    bytes.back() = static_cast<char>(bytes.back() ^ 16);
    folder_.write("run/checkpoints/step_00000030/rank_00001.safetensors", bytes);
    const std::string arguments = prompt() + "--tokens 20";
    EXPECT_EQ(text_of(folder_ / "run" + arguments), text_of(trained() + "/checkpoints/step_00000015" + arguments));
    EXPECT_THAT(smp_generate(folder_ / "run" + arguments).output, HasSubstr("step_00000030 is passed over: "));
    expect_refused(folder_ / "run/checkpoints/step_00000030" + arguments, 3, "no checkpoint is whole");
    std::filesystem::remove_all(folder_ / "run/checkpoints");
    expect_refused(folder_ / "run" + arguments, 3, "is a run that has no complete checkpoint");
}

TEST_F(SmpGenerate, WrongCommandLinesAreSentences) {
    expect_refused("", 2, "CHECKPOINT is missing");
    expect_refused(trained() + " be, or", 2, "\"be,\" is one path too many");
    expect_refused(trained() + " --bogus", 2, "bogus");
    expect_refused(trained() + " --tokens 0", 2, "--tokens is 0; allowed are 1 to 1000000");
    expect_refused(trained() + " --samples 0", 2, "--samples is 0");
    expect_refused(trained() + " --top-k 0", 2, "--top-k is 0");
    expect_refused(trained() + " --temperature -1", 2, "--temperature is -1");
    expect_refused(trained() + " --temperature nan", 2, "nan");
    expect_refused(trained() + " --prompt a --prompt-file b", 2, "--prompt-file and --prompt are both given");
    expect_refused(trained() + " --prompt-file " + (folder_ / "none"), 3, "is not there or cannot be read");
    expect_refused(trained() + " --tokenizer words", 2, "allowed are bytes, gpt2");
    expect_refused(trained() + " --tokenizer gpt2", 2, "the model was trained with bytes");
    expect_refused(trained() + " --logits x --seed 3", 2, "--seed changes nothing beside --logits");
    expect_refused(trained() + prompt(std::string(49, 'a')) + "--logits x", 2,
                   "--prompt has 49 tokens, and the model takes 48 at once");
    expect_refused(folder_ / "none", 3, "is no checkpoint and holds none");
    // A vocabulary of 512 is nobody's; as GPT-2's tokens the prompt does not fit into it.
    const std::string golden = SMP_SOURCE_DIR "/tests/golden/tiny";
    expect_refused(golden + prompt(), 2, "--tokenizer is missing: the checkpoint does not say");
    expect_refused(golden + prompt("Elizabeth") + "--tokenizer gpt2", 2, "--prompt has token ");
    EXPECT_EQ(smp_generate(golden + prompt() + "--tokenizer bytes --tokens 2").exit_code, 0);
    EXPECT_THAT(smp_generate("--help").output, HasSubstr("Exit codes: 0 done"));
    EXPECT_THAT(smp_generate("--version").output, StartsWith("smp_generate "));
    const Outcome cut = run(fmt::format("{{ {} {} --tokens 4000; echo left with $? >&2; }} | head -c 10",
                                        program("smp_generate"), trained()));
    EXPECT_THAT(cut.output, AllOf(HasSubstr("left with 0"), Not(HasSubstr("error"))));
}

// A model of bytes draws what moves cursors; a terminal shows it instead.
TEST_F(SmpGenerate, OnATerminalNothingMovesTheCursor) {
    const std::string start = "a\x1b[2J\xc3\xa9\xff b";
    folder_.write("prompt.txt", start);
    const std::string command = fmt::format("{} {} --prompt-file {} --tokens 1 --top-k 1", program("smp_generate"),
                                            trained(), folder_ / "prompt.txt");
    int terminal = -1;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
        ::_exit(127);
    }
    std::string shown;
    std::array<char, 256> buffer;
    for (ssize_t count; (count = ::read(terminal, buffer.data(), buffer.size())) > 0;)
        shown.append(buffer.data(), static_cast<std::size_t>(count));
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(terminal);
    EXPECT_EQ(WEXITSTATUS(status), 0) << shown;
    EXPECT_THAT(shown, StartsWith("a\\x1b[2J\xc3\xa9\\xff b"));
    EXPECT_THAT(text_of(fmt::format("{} --prompt-file {} --tokens 1", trained(), folder_ / "prompt.txt")),
                StartsWith(start));
}

}  // namespace
}  // namespace smp::testing
