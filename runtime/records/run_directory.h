// The output directory of a run: locked while the run lasts, with the files of INTERFACE §4. Rank 0's alone, but for
// log.<rank>.txt and log.<node>.txt.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/records/step_record.h"

namespace smp::runtime {

/// Appends to a file line by line, or piece by piece. A piece is in the file when append() returns, and there as a
/// whole or not at all: where there is no room for all of it, none of it stays.
class LineFile {
  public:
    enum class Start { anew, go_on };
    /// Anew it truncates. Throws DataError with the path and the system's reason; for a link, too.
    explicit LineFile(std::filesystem::path path, Start start = Start::anew);
    ~LineFile();
    LineFile(const LineFile&) = delete;
    LineFile& operator=(const LineFile&) = delete;
    void write(std::string_view line) { append(std::string(line) + '\n'); }
    void append(std::string_view bytes);

  private:
    std::filesystem::path path_;
    int file_ = -1;
};

/// The Hugging Face folder of checkpoint.export, in a run's folder.
inline constexpr const char* kExportedModel = "model";

/// The tokens of plain text, in a run's folder: TrainerOptions::token_folder.
inline constexpr const char* kTokenFolder = "tokens";

/// The event files of logging.tensorboard, in a run's folder.
inline constexpr const char* kTensorBoard = "tensorboard";

/// Whether a run writes a file of this name in its folder: config.json, log.3.txt, ….
bool is_file_of_a_run(const std::filesystem::path& name);

class RunDirectory {
  public:
    /// Creates the directory and locks it (advisory, released by the kernel when the process ends, however it ends).
    /// Throws DataError if that fails, and if another run holds the lock, and partition::ConfigError for a folder that
    /// is no run's and not empty: nothing of others is written over.
    explicit RunDirectory(std::filesystem::path path);
    ~RunDirectory();
    RunDirectory(const RunDirectory&) = delete;
    RunDirectory& operator=(const RunDirectory&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

    /// Writes a file of the directory as a whole: under another name first, then renamed, so that it is complete or not
    /// there. Throws DataError.
    void write_file(const std::string& name, const std::string& content) const;

    /// Moves what an earlier run has left here (its exported model, too), and `checkpoints`, to earlier/N with the
    /// first N that is free. Nothing where there is nothing. Throws DataError.
    void set_earlier_run_aside(const std::filesystem::path& checkpoints) const;

  private:
    std::filesystem::path path_;
    int lock_ = -1;
};

}  // namespace smp::runtime
