#include "runtime/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <glob.h>
#include <memory>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/data/dataset_order.h"
#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

std::int64_t samples_in(const TokenFile& file, std::int64_t sequence_length) {
    return std::max<std::int64_t>(0, (file.tokens() - 1) / sequence_length);
}

std::int64_t samples_in(const std::vector<TokenFile>& files, std::int64_t sequence_length) {
    return std::accumulate(files.begin(), files.end(), std::int64_t{0}, [&](std::int64_t sum, const TokenFile& file) {
        return sum + samples_in(file, sequence_length);
    });
}

std::string too_short(const TokenFile& file, std::int64_t sequence_length) {
    return fmt::format("\"{}\" has {} tokens, fewer than the {} of one sample (training.sequence_length {} + 1)",
                       file.path().string(), file.tokens(), sequence_length + 1, sequence_length);
}

}  // namespace

Dataset::Dataset(std::vector<TokenFile> files, Settings settings)
    : files_(std::move(files)), settings_(std::move(settings)) {
    const std::int64_t length = settings_.sequence_length;
    if (length < 1 || settings_.skipped_front < 0 || settings_.skipped_back < 0) {
        throw std::logic_error(fmt::format("A dataset of sequences of {} tokens, {} and {} of them skipped.", length,
                                           settings_.skipped_front, settings_.skipped_back));
    }
    for (const std::string& warning : settings_.warnings)
        warnings_.push_back(fmt::format("{}: {}", settings_.role, warning));
    std::int64_t all = 0;
    for (const TokenFile& file : files_) {
        for (const std::string& warning : file.warnings())
            warnings_.push_back(fmt::format("{}: {}", settings_.role, warning));
        const std::int64_t samples = samples_in(file, length);
        if (samples == 0)
            warnings_.push_back(fmt::format("{}: {}; it is left out.", settings_.role, too_short(file, length)));
        ends_.push_back(all += samples);
    }
    if (all == 0 && files_.size() == 1) {
        throw DataError(fmt::format("{}: {}; give more text or shorten the sequences.", settings_.role,
                                    too_short(files_.front(), length)));
    }
    if (all == 0) {
        throw DataError(
            fmt::format("{}: none of the {} files has the {} tokens of one sample (training.sequence_length {} + 1; "
                        "samples never cross "
                        "files); join the files or shorten the sequences.",
                        settings_.role, files_.size(), length + 1, length));
    }
    samples_ = all - settings_.skipped_front - settings_.skipped_back;
    if (samples_ < 1) throw std::logic_error(fmt::format("A dataset without samples: {} of {}.", samples_, all));
}

Dataset::Place Dataset::place_of_sample(std::int64_t sample) const {
    sample += settings_.skipped_front;
    const auto file = std::upper_bound(ends_.begin(), ends_.end(), sample);
    const std::int64_t before = file == ends_.begin() ? 0 : *std::prev(file);
    return {.file = static_cast<std::size_t>(file - ends_.begin()),
            .first_token = (sample - before) * sequence_length()};
}

Dataset::Place Dataset::place(std::int64_t position) const {
    if (position < 0) throw std::logic_error(fmt::format("Position {} in a dataset.", position));
    const std::int64_t index = position % samples_;
    if (settings_.order == DataOrder::sequential) return place_of_sample(index);
    return place_of_sample(EpochPermutation(samples_, settings_.seed, position / samples_)(index));
}

void Dataset::read(std::int64_t first, std::int64_t count, std::span<std::int64_t> inputs,
                   std::span<std::int64_t> targets) const {
    const std::int64_t length = sequence_length();
    if (count < 0 || std::ssize(inputs) != count * length || std::ssize(targets) != count * length) {
        throw std::logic_error(fmt::format("{} samples of {} tokens into {} inputs and {} targets.", count, length,
                                           inputs.size(), targets.size()));
    }
    std::vector<std::int64_t> sample(static_cast<std::size_t>(length) + 1);
    for (std::int64_t i = 0; i < count; ++i) {
        const auto [file, first_token] = place(first + i);
        try {
            files_[file].read(first_token, sample);
        } catch (const DataError& error) {
            throw DataError(fmt::format("{}: {}", settings_.role, error.what()));
        }
        std::copy(sample.begin(), sample.end() - 1, inputs.begin() + i * length);
        std::copy(sample.begin() + 1, sample.end(), targets.begin() + i * length);
    }
}

std::string described(const Dataset& data, const DataOptions& options, std::int64_t taken) {
    std::int64_t tokens = 0;
    bool has_text = false;
    std::vector<std::string> formats;
    for (const TokenFile& file : data.files()) {
        tokens += file.tokens();
        has_text = has_text || file.format() == DataFormat::text;
        const std::string word = partition::word_of(file.format());
        if (std::find(formats.begin(), formats.end(), word) == formats.end()) formats.push_back(word);
    }
    const std::size_t files = data.files().size();
    return fmt::format("{} tokens in {} file{}, {}{}: {} samples of {} tokens; {} are taken ({:.3g} epochs)", tokens,
                       files, files == 1 ? "" : "s", fmt::join(formats, " and "),
                       has_text ? fmt::format(" by tokenizer {}", partition::word_of(options.tokenizer)) : "",
                       data.samples(), data.sequence_length(), taken,
                       static_cast<double>(taken) / static_cast<double>(data.samples()));
}

std::optional<std::string> uneven_use(const Dataset& data, std::int64_t taken, const std::string& by) {
    if (taken <= data.samples() || taken % data.samples() == 0) return std::nullopt;
    return fmt::format(
        "{}: {} takes {} samples, but there are {}: some are taken {} times and others {}; give more "
        "data, or take fewer.",
        data.role(), by, taken, data.samples(), taken / data.samples() + 1, taken / data.samples());
}

std::vector<std::filesystem::path> matching_files(const std::string& pattern) {
    std::error_code ignored;
    if (std::filesystem::exists(pattern, ignored) || pattern.find_first_of("*?[") == pattern.npos) {
        std::filesystem::path path = pattern;
        // Either file of a Megatron pair stands for both.
        if (path.extension() == ".idx") path.replace_extension(".bin");
        return {path};
    }
    glob_t found{};
    const std::unique_ptr<glob_t, decltype(&::globfree)> owner(&found, &::globfree);
    const int result = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
    if (result == GLOB_NOSPACE) throw std::bad_alloc();
    std::vector<std::filesystem::path> files;
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
        const std::filesystem::path path = found.gl_pathv[i];
        if (std::filesystem::is_directory(path, ignored)) continue;
        if (path.extension() == ".idx" &&
            std::filesystem::exists(std::filesystem::path(path).replace_extension(".bin"), ignored))
            continue;
        files.push_back(path);
    }
    if (files.empty()) throw DataError(fmt::format("no file matches \"{}\"; check the path and the pattern.", pattern));
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.native() < b.native(); });
    return files;
}

std::vector<std::string> leave_out_empty(std::vector<std::filesystem::path>& files) {
    std::vector<std::string> sentences;
    std::vector<std::filesystem::path> full;
    for (const std::filesystem::path& file : files) {
        std::error_code error;
        const bool is_empty =
            std::filesystem::is_regular_file(file, error) && std::filesystem::file_size(file, error) == 0;
        if (!is_empty || error) {
            full.push_back(file);
        } else {
            sentences.push_back(fmt::format("\"{}\" is empty (0 bytes); it is left out.", file.string()));
        }
    }
    if (full.empty()) return {};
    files = std::move(full);
    return sentences;
}

Dataset open_dataset(const DataOptions& data, DataSplit split, std::int64_t vocab_size, std::int64_t sequence_length,
                     std::uint64_t seed, TokenCache* cache) {
    if (split == DataSplit::validation && !has_validation_data(data))
        throw std::logic_error("Validation data were opened where none are given.");
    const bool own_files = split == DataSplit::validation && !data.validation.empty();
    Dataset::Settings settings{.sequence_length = sequence_length,
                               .order = split == DataSplit::train ? data.order : DataOrder::sequential,
                               .seed = seed,
                               .role = own_files ? "data.validation" : "data.train"};
    const std::unique_ptr<TextTokenizer> tokenizer = make_tokenizer(data);
    std::vector<TokenFile> files;
    try {
        std::vector<std::filesystem::path> paths = matching_files(own_files ? data.validation : data.train);
        settings.warnings = leave_out_empty(paths);
        for (const std::filesystem::path& path : paths) {
            files.emplace_back(path, TokenFileOptions{.format = data.format,
                                                      .vocab_size = vocab_size,
                                                      .tokenizer = tokenizer.get(),
                                                      .cache = cache,
                                                      .token_bytes = data.token_bytes.value_or(0)});
        }
    } catch (const DataError& error) {
        throw DataError(fmt::format("{}: {}", settings.role, error.what()));
    }
    constexpr std::int64_t kMuchMoreThanBytes = 512;
    const bool reads_bytes = data.tokenizer == Tokenizer::bytes &&
                             std::any_of(files.begin(), files.end(),
                                         [](const TokenFile& file) { return file.format() == DataFormat::text; });
    if (reads_bytes && vocab_size >= kMuchMoreThanBytes && split == DataSplit::train) {
        settings.warnings.push_back(
            fmt::format("the text is read byte by byte (data.tokenizer = \"bytes\"), so that of the {} tokens of the "
                        "vocabulary only 256 occur; set data.tokenizer = \"gpt2\", or model.vocab_size = 256.",
                        vocab_size));
    }
    if (!data.validation.empty() || data.validation_fraction == 0)
        return Dataset(std::move(files), std::move(settings));

    const std::int64_t all = samples_in(files, sequence_length);
    if (all == 1) {
        throw DataError(
            fmt::format("{}: there is one sample of {} tokens, too few to keep some for validation "
                        "(data.validation_fraction {}); give more "
                        "text, shorten training.sequence_length, or name data.validation.",
                        settings.role, sequence_length + 1, data.validation_fraction));
    }
    const auto wanted = static_cast<std::int64_t>(std::llround(data.validation_fraction * static_cast<double>(all)));
    const std::int64_t kept = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, all - 1));
    if (all > 0)
        (split == DataSplit::train ? settings.skipped_back : settings.skipped_front) =
            split == DataSplit::train ? kept : all - kept;
    return Dataset(std::move(files), std::move(settings));
}

}  // namespace smp::runtime
