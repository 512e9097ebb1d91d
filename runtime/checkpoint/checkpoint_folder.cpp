#include "runtime/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"

namespace smp::runtime {

namespace {

constexpr std::string_view kStep = "step_", kPartial = ".partial", kReplaced = ".replaced";

std::string name_of(std::int64_t step) { return fmt::format("{}{:08}", kStep, step); }

/// The step of a folder's name that name_of() has made.
std::optional<std::int64_t> step_of(std::string_view name) {
    std::int64_t step = 0;
    if (!name.starts_with(kStep)) return std::nullopt;
    const auto digits = name.substr(kStep.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
    if (error != std::errc{} || end != digits.data() + digits.size() || name != name_of(step)) return std::nullopt;
    return step;
}

[[noreturn]] void fail(const std::filesystem::path& path, const char* operation, const std::string& cause) {
    throw DataError(
        fmt::format("\"{}\" {}: {}; check checkpoint.directory and the disk", path.string(), operation, cause));
}

void make_durable(const std::filesystem::path& folder) {
    const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) fail(folder, "cannot be opened", std::strerror(errno));
    const int result = ::fsync(handle);
    const int error = errno;
    ::close(handle);
    if (result != 0 && error != EINVAL) fail(folder, "cannot be written to the disk", std::strerror(error));
}

/// Folders of the run's that are no checkpoints (any more).
std::vector<std::filesystem::path> leftovers_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> found;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
        const std::string name = entry.path().filename().string();
        for (const std::string_view ending : {kPartial, kReplaced})
            if (name.ends_with(ending) && step_of(name.substr(0, name.size() - ending.size())))
                found.push_back(entry.path());
    }
    return found;
}

}  // namespace

std::vector<FoundCheckpoint> checkpoints_in(const std::filesystem::path& folder) {
    std::vector<FoundCheckpoint> found;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none))
        if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory(none))
            found.push_back({*step, entry.path()});
    std::ranges::sort(found, std::greater(), &FoundCheckpoint::step);
    return found;
}

std::vector<std::filesystem::path> checkpoints_named(const std::filesystem::path& path) {
    std::error_code none;
    if (std::filesystem::exists(path / kManifest, none)) return {path};
    std::vector<std::filesystem::path> paths;
    for (const auto& folder : {path / "checkpoints", path}) {
        for (const auto& checkpoint : checkpoints_in(folder)) paths.push_back(checkpoint.path);
        if (!paths.empty()) break;
    }
    return paths;
}

std::string part_name(int rank) { return fmt::format("rank_{:05}.safetensors", rank); }

void write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
    write_text(folder / kManifest, to_json(manifest));
}

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step) {
    return folder / name_of(step);
}

void remove_partial_checkpoints(const std::filesystem::path& folder) {
    for (const auto& leftover : leftovers_in(folder)) {
        // Between the two renames of commit() the older one of a step is the only one.
        const std::string name = leftover.filename().string();
        const auto original = folder / name.substr(0, name.rfind('.'));
        std::error_code error;
        if (name.ends_with(kReplaced) && !std::filesystem::exists(original, error))
            std::filesystem::rename(leftover, original, error);
        else
            std::filesystem::remove_all(leftover, error);
        if (error) fail(leftover, "is left of an earlier run and cannot be removed", error.message());
    }
}

PartialCheckpoint::PartialCheckpoint(std::filesystem::path folder, std::int64_t step)
    : folder_(std::move(folder)),
      partial_(folder_ / fmt::format("{}{}", name_of(step), kPartial)),
      final_(folder_ / name_of(step)) {}

std::filesystem::path PartialCheckpoint::part(int rank) const { return partial_ / part_name(rank); }

std::filesystem::path PartialCheckpoint::announcement(int rank) const {
    return partial_ / fmt::format("rank_{:05}.json", rank);
}

void PartialCheckpoint::create() const {
    std::error_code error;
    std::filesystem::create_directories(partial_, error);
    if (error) fail(partial_, "cannot be created", error.message());
}

void PartialCheckpoint::announce(const PartFile& file, int rank, const std::string& run) const {
    write_text(announcement(rank), to_json(file, run));
}

bool PartialCheckpoint::collect(int ranks, const std::string& run, std::vector<PartFile>& files) const {
    for (int rank = static_cast<int>(files.size()); rank < ranks; ++rank) {
        const auto text = read_text(announcement(rank));
        if (!text) return false;
        files.push_back(parse_part(*text, run, announcement(rank)));
    }
    return true;
}

void PartialCheckpoint::commit(const Manifest& manifest, int ranks) const {
    for (int rank = 0; rank < ranks; ++rank) {
        std::error_code error;
        std::filesystem::remove(announcement(rank), error);
        if (error) fail(announcement(rank), "cannot be removed", error.message());
    }
    write_manifest(partial_, manifest);
    make_durable(partial_);
    std::error_code error;
    auto replaced = final_;
    replaced += kReplaced;
    const bool replaces = std::filesystem::exists(final_, error);
    if (replaces) std::filesystem::rename(final_, replaced, error);
    if (error) fail(final_, "cannot be replaced", error.message());
    std::filesystem::rename(partial_, final_, error);
    if (error) fail(final_, "cannot be put in place", error.message());
    make_durable(folder_);
    if (replaces) std::filesystem::remove_all(replaced, error);
}

void PartialCheckpoint::remove() const noexcept {
    std::error_code none;
    std::filesystem::remove_all(partial_, none);
}

void remove_old_checkpoints(const std::filesystem::path& folder, std::int64_t keep) {
    const auto found = checkpoints_in(folder);
    for (std::size_t i = static_cast<std::size_t>(keep); i < found.size(); ++i) {
        // Its name goes first: what is half removed is no checkpoint.
        auto leftover = found[i].path;
        leftover += kPartial;
        std::error_code error;
        std::filesystem::rename(found[i].path, leftover, error);
        if (!error) std::filesystem::remove_all(leftover, error);
        if (error) fail(found[i].path, "is older than checkpoint.keep and cannot be removed", error.message());
    }
}

}  // namespace smp::runtime
