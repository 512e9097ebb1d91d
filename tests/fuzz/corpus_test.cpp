// The corpus of the fuzzers, and a thousand changes of each of its files: what they once found stays found, with any
// compiler.
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/seed.h"

namespace smp::testing {
namespace {

using Target = std::function<void(std::span<const std::byte>)>;

std::vector<std::string> corpus(const std::string& name) {
    std::vector<std::string> inputs;
    for (const auto& entry : std::filesystem::directory_iterator(SMP_SOURCE_DIR "/tests/fuzz/corpus/" + name))
        inputs.push_back(content(entry.path()));
    std::sort(inputs.begin(), inputs.end());
    return inputs;
}

/// One to four changes: a bit, a byte that means something to a parser, a piece that is cut out, moved in from another
/// file or doubled.
std::string changed(std::string text, const std::string& other, std::mt19937& random) {
    const auto below = [&](std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random); };
    for (std::size_t left = 1 + below(4); left > 0 && !text.empty(); --left) {
        const std::size_t at = below(text.size()), length = 1 + below(std::min<std::size_t>(16, text.size() - at));
        switch (below(5)) {
            case 0: text[at] = static_cast<char>(text[at] ^ (1 << below(8))); break;
            case 1: text[at] = "\"{}[],:09-.eE\\\0\xff"[below(16)]; break;
            case 2: text.erase(at, length); break;
            case 3: text.insert(at, text.substr(below(text.size()), length)); break;
            default: text.insert(at, other.substr(below(other.size()), length)); break;
        }
    }
    return text;
}

/// All inputs end; how many were run.
int run_all(const std::string& name, const Target& target) {
    constexpr int kChanges = 1000;
    const auto inputs = corpus(name);
    std::mt19937 random(static_cast<std::mt19937::result_type>(seed()));
    int runs = 0;
    const auto run = [&](const std::string& input, const std::string& what) {
        try {
            target(std::as_bytes(std::span(input)));
            ++runs;
        } catch (const std::exception& error) {
            ADD_FAILURE() << what << ": " << error.what();
        }
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        run(inputs[i], fmt::format("file {} of {}", i, name));
        for (int change = 0; change < kChanges; ++change) {
            const std::string& other = inputs[std::uniform_int_distribution<std::size_t>(0, inputs.size() - 1)(random)];
            run(changed(inputs[i], other.empty() ? "x" : other, random),
                fmt::format("change {} of file {} of {}", change, i, name));
        }
    }
    return runs;
}

TEST(Fuzz, TheSafetensorsReaderEndsOnWhateverItIsGiven) { EXPECT_GT(run_all("safetensors", fuzz_safetensors), 5000); }

TEST(Fuzz, TheManifestParserEndsOnWhateverItIsGiven) { EXPECT_GT(run_all("manifest", fuzz_manifest), 5000); }

}  // namespace
}  // namespace smp::testing
