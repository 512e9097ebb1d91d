#include "launch/convert/llmc_model.h"

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "launch/convert/model_of_checkpoint.h"
#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"

namespace smp::launch {
namespace {

constexpr std::int32_t kMagic = 20240326, kFp32 = 3, kBf16 = 5;
constexpr std::size_t kHeader = 256;
constexpr std::int64_t kVocabularyMultiple = 128;
constexpr double kEpsilon = 1e-5;

using Header = std::array<std::int32_t, kHeader>;

/// One tensor of the file: of all layers, or of the model. Sizes in our orientation.
struct LlmcTensor {
    std::string_view name;  // behind "h.N." where it is of a layer
    bool of_layer;
    std::int64_t rows, columns;  // of a vector: 1 row
    bool is_transposed;
};

std::vector<LlmcTensor> tensors_of(const models::Gpt2Options& options, std::int64_t padded_vocabulary) {
    const std::int64_t C = options.n_embd;
    return {
        {"wte.weight", false, padded_vocabulary, C, false},
        {"wpe.weight", false, options.n_positions, C, false},
        {"ln_1.weight", true, 1, C, false},
        {"ln_1.bias", true, 1, C, false},
        {"attn.c_attn.weight", true, C, 3 * C, true},
        {"attn.c_attn.bias", true, 1, 3 * C, false},
        {"attn.c_proj.weight", true, C, C, true},
        {"attn.c_proj.bias", true, 1, C, false},
        {"ln_2.weight", true, 1, C, false},
        {"ln_2.bias", true, 1, C, false},
        {"mlp.c_fc.weight", true, C, 4 * C, true},
        {"mlp.c_fc.bias", true, 1, 4 * C, false},
        {"mlp.c_proj.weight", true, 4 * C, C, true},
        {"mlp.c_proj.bias", true, 1, C, false},
        {"ln_f.weight", false, 1, C, false},
        {"ln_f.bias", false, 1, C, false},
    };
}

/// f(name of the parameter, its tensor, first element in the file), in the order of the file. Elements in all.
template <class F>
std::int64_t for_each_parameter(const models::Gpt2Options& options, std::int64_t padded_vocabulary, const F& f) {
    std::int64_t first = 0;
    for (const LlmcTensor& tensor : tensors_of(options, padded_vocabulary)) {
        for (std::int64_t layer = 0; layer < (tensor.of_layer ? options.n_layer : 1); ++layer) {
            f(tensor.of_layer ? fmt::format("h.{}.{}", layer, tensor.name) : std::string(tensor.name), tensor, first);
            first += tensor.rows * tensor.columns;
        }
    }
    return first;
}

/// [rows, columns] → [columns, rows].
std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
    std::vector<float> result(values.size());
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) result[c * rows + r] = values[r * columns + c];
    return result;
}

}  // namespace

bool is_llmc_model(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::int32_t magic = 0;
    return file.read(reinterpret_cast<char*>(&magic), sizeof(magic)) && magic == kMagic;
}

LlmcModel::LlmcModel(const std::filesystem::path& path) : file_(path) {
    Header header{};
    const auto refuse = [&](const std::string& what) {
        return runtime::DataError(fmt::format("\"{}\" {}", path.string(), what));
    };
    if (file_.size() < sizeof(header))
        throw refuse(fmt::format("is {} bytes long, too short for llm.c's header; copy it again", file_.size()));
    std::memcpy(header.data(), file_.bytes().data(), sizeof(header));
    if (header[1] != kFp32 && header[1] != kBf16)
        throw refuse(
            fmt::format("is of llm.c's version {}, where {} (fp32) and {} (bf16) are read; write it again with "
                        "a newer train_gpt2.py",
                        header[1], kFp32, kBf16));
    value_bytes_ = header[1] == kFp32 ? 4 : 2;
    options_.n_layer = header[4];
    options_.n_head = header[5];
    options_.n_embd = header[6];
    options_.n_positions = header[2];
    options_.vocab_size = header[3];
    options_.layer_norm_epsilon = kEpsilon;
    padded_vocabulary_ = header[7];
    if (const auto problems = models::validate(options_); !problems.empty())
        throw refuse(
            fmt::format("describes no GPT-2: {} {}; copy it again", problems.front().key, problems.front().message));
    if (padded_vocabulary_ < options_.vocab_size)
        throw refuse(fmt::format("has a vocabulary of {}, padded to {}; copy it again", options_.vocab_size,
                                 padded_vocabulary_));
    const std::int64_t elements = for_each_parameter(options_, padded_vocabulary_, [](auto&&...) {});
    const std::uint64_t bytes = sizeof(header) + static_cast<std::uint64_t>(elements * value_bytes_);
    if (file_.size() != bytes)
        throw refuse(fmt::format("has {} bytes, and its header says {}; copy it again", file_.size(), bytes));
}

std::vector<float> LlmcModel::read(const models::Parameter& parameter) const {
    std::vector<float> values(static_cast<std::size_t>(parameter.slice.global_numel()));
    for_each_parameter(
        options_, padded_vocabulary_, [&](const std::string& name, const LlmcTensor& tensor, std::int64_t first) {
            if (name != parameter.name) return;
            const auto bytes = file_.bytes().subspan(sizeof(Header) + static_cast<std::size_t>(first * value_bytes_),
                                                     values.size() * static_cast<std::size_t>(value_bytes_));
            if (value_bytes_ == sizeof(float)) {
                std::memcpy(values.data(), bytes.data(), bytes.size());
            } else {
                for (std::size_t i = 0; i < values.size(); ++i) {
                    std::uint16_t bits = 0;
                    std::memcpy(&bits, bytes.data() + 2 * i, sizeof(bits));
                    values[i] = std::bit_cast<float>(std::uint32_t{bits} << 16);
                }
            }
            if (tensor.is_transposed) values = transposed(values, tensor.columns, tensor.rows);
        });
    file_.require_whole();
    file_.let_go();
    return values;
}

void export_llmc(runtime::Checkpoint& checkpoint, const std::filesystem::path& path) {
    const models::Gpt2Options options = model_of(checkpoint);
    const auto refuse = [&](const std::string& what) {
        throw runtime::DataError(fmt::format("\"{}\" has {}, which llm.c's format cannot say; use --format huggingface",
                                             checkpoint.path().string(), what));
    };
    if (!options.tie_word_embeddings) refuse("a head of its own");
    if (options.layer_norm_epsilon != kEpsilon)
        refuse(fmt::format("layer_norm_epsilon {}", options.layer_norm_epsilon));
    if (inner_width(options) != 4 * options.n_embd)
        refuse(fmt::format("an MLP {} wide beside n_embd {}", inner_width(options), options.n_embd));
    const std::int64_t padded =
        (options.vocab_size + kVocabularyMultiple - 1) / kVocabularyMultiple * kVocabularyMultiple;
    Header header{kMagic,
                  kFp32,
                  static_cast<std::int32_t>(options.n_positions),
                  static_cast<std::int32_t>(options.vocab_size),
                  static_cast<std::int32_t>(options.n_layer),
                  static_cast<std::int32_t>(options.n_head),
                  static_cast<std::int32_t>(options.n_embd),
                  static_cast<std::int32_t>(padded)};
    runtime::OutputFile file(path, runtime::OutputFile::Existing::keep);
    file.write(std::as_bytes(std::span(header)));
    for_each_parameter(options, padded, [&](const std::string& name, const LlmcTensor& tensor, std::int64_t) {
        const std::int64_t rows = name == "wte.weight" ? options.vocab_size : tensor.rows;
        if (tensor.is_transposed) {
            std::vector<float> values(static_cast<std::size_t>(rows * tensor.columns));
            checkpoint.read(name, runtime::StateKind::weight, 0, values);
            file.write(std::as_bytes(std::span<const float>(transposed(values, rows, tensor.columns))));
            return;
        }
        checkpoint.read_all(name, runtime::StateKind::weight, 0, rows * tensor.columns,
                            [&](std::span<const float> values) { file.write(std::as_bytes(values)); });
        const std::vector<float> padding(static_cast<std::size_t>((tensor.rows - rows) * tensor.columns));
        file.write(std::as_bytes(std::span(padding)));
    });
    file.commit();
}

}  // namespace smp::launch
