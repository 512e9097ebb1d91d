// A model's weights in files that others have written: which tensor is which parameter, and whether they are of this
// model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/model_spec.h"
#include "runtime/files/safetensors.h"

namespace smp::runtime {

class ModelWeights {
  public:
    /// Opens a .safetensors file, or a folder as Hugging Face makes it, under the names that `model` knows parameters
    /// by, and those with what wrappers of PyTorch's modules put before them or between (`module.`, `_orig_mod.`,
    /// `model.`, …). Throws DataError where a parameter has two such names; and it throws DataError for tensors that
    /// the file's model computes with and this one has no place for, and where the config.json beside the file
    /// describes another model. `described_by` is what a person can change about the model, as a message names it.
    /// `model` must outlive this.
    ModelWeights(const std::filesystem::path& path, const models::ModelSpec& model, std::string described_by);

    /// Sentences about tensors that nothing is made of.
    const std::vector<std::string>& warnings() const { return warnings_; }

    /// Elements first … first + size − 1 of a parameter, row-major, as float. A parameter that is tied has the values
    /// of what it is tied to, under either's name. Throws DataError for a tensor that is missing or of another shape or
    /// dtype.
    void read(const models::Parameter& parameter, std::int64_t first, std::span<float> values) const;
    /// The file and the name that a parameter has there: "\"model.safetensors\": transformer.wte.weight".
    std::string described(const models::Parameter& parameter) const;
    /// Where the file has a tied parameter under both names: that the values of its slice are the same. Throws
    /// DataError.
    void require_tied(const models::Parameter& parameter) const;

    /// As MappedFile's.
    void let_go() const { weights_.let_go(); }

  private:
    const SafetensorsEntry* find(const std::string& parameter) const;
    const SafetensorsEntry& entry_of(const models::Parameter& parameter) const;
    void require_shape(const SafetensorsEntry& entry, const models::Parameter& parameter) const;
    void name_entries();
    [[noreturn]] void refuse_missing(const std::string& parameter) const;
    std::vector<std::string> check_strays() const;
    void check_description(const std::filesystem::path& path) const;

    Weights weights_;
    const models::ModelSpec& model_;
    std::string described_by_;
    std::map<std::string, const SafetensorsEntry*, std::less<>> entries_;  // by their names without wrappers
    std::vector<std::string> warnings_;
};

}  // namespace smp::runtime
