// Training data: files of tokens cut into samples, in a reproducible order without end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/token_file.h"
#include "runtime/job/options.h"

namespace smp::runtime {

enum class DataSplit { train, validation };

/// Sample i of a file is its tokens [i·T, i·T + T], T + 1 of them: inputs and, shifted by one, targets. Samples never
/// cross files; what is left at the end of a file is not used. A file of n tokens has ⌊(n − 1)/T⌋ samples; they are
/// numbered through in the order of the files.
///
/// The data's order is infinite: position g is place g mod N of epoch ⌊g/N⌋, where N = samples() and each epoch visits
/// every sample once, in the order of their numbers (sequential) or in one that depends on (seed, epoch, N) (shuffled).
/// It depends on nothing else: not on the layout, not on how much is read at a time. Immutable: any number of threads
/// may read one.
class Dataset {
  public:
    struct Settings {
        std::int64_t sequence_length = 0;  // T
        DataOrder order = DataOrder::sequential;
        std::uint64_t seed = 0;
        std::int64_t skipped_front = 0;  // samples at the front or the back that are not part of this set
        std::int64_t skipped_back = 0;
        std::string role;                        // begins messages: "data.train"
        std::vector<std::string> warnings = {};  // about what is not among the files
    };
    /// Throws DataError if no sample is left.
    Dataset(std::vector<TokenFile> files, Settings settings);

    const std::vector<TokenFile>& files() const { return files_; }
    const std::string& role() const { return settings_.role; }
    std::int64_t sequence_length() const { return settings_.sequence_length; }
    std::int64_t samples() const { return samples_; }                     ///< of an epoch, at least 1
    std::int64_t tokens() const { return samples_ * sequence_length(); }  ///< trained on in an epoch

    struct Place {
        std::size_t file;
        std::int64_t first_token;
        bool operator==(const Place&) const = default;
    };
    /// Where the sample at a position of the order lies; position ≥ 0.
    Place place(std::int64_t position) const;

    /// The samples at positions first … first + count − 1 of the order. inputs and targets: [count, T] each.
    /// Throws DataError at a token outside the vocabulary (only in files too large to be searched when they are
    /// opened).
    void read(std::int64_t first, std::int64_t count, std::span<std::int64_t> inputs,
              std::span<std::int64_t> targets) const;

    /// Sentences a person should see: files that are too short to give a sample, or may be something else.
    const std::vector<std::string>& warnings() const { return warnings_; }

  private:
    Place place_of_sample(std::int64_t sample) const;

    std::vector<TokenFile> files_;
    Settings settings_;
    std::vector<std::int64_t> ends_;  // samples in the files up to and including each
    std::int64_t samples_ = 0;
    std::vector<std::string> warnings_;
};

/// "5000 tokens in 2 files, text by tokenizer bytes: 39 samples of 128 tokens; 200 are taken (5.1 epochs)".
std::string described(const Dataset& data, const DataOptions& options, std::int64_t taken);

/// A sentence where `by` ("an evaluation (…)") takes so many samples, always from the front, that some count more often
/// than others.
std::optional<std::string> uneven_use(const Dataset& data, std::int64_t taken, const std::string& by);

/// The files that a path or glob names, in the order of their names. A path that exists is taken literally. Directories
/// that a glob matches are left out, and so is an .idx whose .bin is there. Throws DataError if nothing is left.
std::vector<std::filesystem::path> matching_files(const std::string& pattern);

/// Takes files of 0 bytes out of several, as they are left by shards that got nothing: a sentence about each. A file
/// that is alone stays, and all stay if all are empty: opening one says what is wrong.
std::vector<std::string> leave_out_empty(std::vector<std::filesystem::path>& files);

/// Opens data.train, or data.validation, or in its place the last samples of data.train: validation_fraction of their
/// number, rounded to the nearest, at least one; they are then no part of the training set. Validation data are always
/// read in sequence. Throws DataError as above and as TokenFile does, beginning with the key. has_validation_data(data)
/// must hold for validation. `cache`: as TokenFileOptions has it.
Dataset open_dataset(const DataOptions& data, DataSplit split, std::int64_t vocab_size, std::int64_t sequence_length,
                     std::uint64_t seed, TokenCache* cache = nullptr);

}  // namespace smp::runtime
