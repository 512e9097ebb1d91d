// Running a program as a user does: a command line, what it prints, how it ends.
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::testing {

struct Outcome {
    int exit_code = -1;
    std::string output;  // stdout and stderr

    /// How often a text occurs in the output.
    int count(const std::string& text) const {
        int found = 0;
        for (auto at = output.find(text); at != std::string::npos; at = output.find(text, at + 1)) ++found;
        return found;
    }
};

inline Outcome run(const std::string& command) {
    std::FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("popen failed");
    Outcome outcome;
    std::array<char, 4096> buffer;
    for (std::size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        outcome.output.append(buffer.data(), count);
    const int status = ::pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

inline std::string program(const std::string& name) { return std::string(SMP_BINARY_DIR) + "/bin/" + name; }
inline std::string mpirun(int ranks) {
    return fmt::format(
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 mpirun --oversubscribe --bind-to "
        "none -np {} ",
        ranks);
}

/// A folder that goes away with the object.
class Folder {
  public:
    Folder() {
        std::string path = (std::filesystem::temp_directory_path() / "smp-test-XXXXXX").string();
        if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = path;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    std::string write(const std::string& name, const std::string& content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return *this / name;
    }

  private:
    std::filesystem::path path_;
};

inline std::string read_text(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

/// The lines of a metrics.jsonl with only what the promise of equal bits covers, as text.
inline std::string promised(const std::string& metrics_path) {
    std::ifstream stream(metrics_path);
    std::string text;
    for (std::string line; std::getline(stream, line);) {
        const auto record = nlohmann::ordered_json::parse(line);
        nlohmann::ordered_json kept;
        for (const char* key :
             {"step", "loss", "learning_rate", "grad_norm", "tokens", "skipped_updates", "validation_loss"})
            if (record.contains(key)) kept[key] = record[key];
        text += kept.dump() + "\n";
    }
    return text;
}

}  // namespace smp::testing
