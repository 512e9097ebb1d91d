// A GPT-2 in llm.c's file of weights: a header of 256 int32, then tensor after tensor, each of all layers, as
// train_gpt2.c lists them. A matrix of a linear layer lies there as [out, in], the transpose of ours; the token table
// has rows of padding.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/gpt2/options.h"
#include "models/parameter.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/files/mapped_file.h"

namespace smp::launch {

/// By its first bytes; false where it cannot be read.
bool is_llmc_model(const std::filesystem::path& path);

class LlmcModel {
  public:
    /// Version 3 (fp32) or 5 (bf16). Throws DataError.
    explicit LlmcModel(const std::filesystem::path& path);

    /// llm.c has one epsilon, a tied head and an MLP four times as wide.
    const models::Gpt2Options& options() const { return options_; }
    /// All of a whole parameter, row-major as ours.
    std::vector<float> read(const models::Parameter& parameter) const;

  private:
    runtime::MappedFile file_;
    models::Gpt2Options options_;
    std::int64_t value_bytes_ = 4, padded_vocabulary_ = 0;
};

/// Writes the checkpoint's weights as version 3, the vocabulary padded to a multiple of 128; a file that is complete or
/// not there. Memory of one matrix. Throws DataError, also for a model that the format cannot say.
void export_llmc(runtime::Checkpoint& checkpoint, const std::filesystem::path& path);

}  // namespace smp::launch
