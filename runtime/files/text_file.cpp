#include "runtime/files/text_file.h"

#include <fstream>
#include <iterator>
#include <span>
#include <system_error>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"

namespace smp::runtime {

std::optional<std::string> read_text(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) return std::nullopt;
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (stream.bad()) return std::nullopt;
    return text;
}

void write_text(const std::filesystem::path& path, std::string_view text) {
    OutputFile file(path, OutputFile::Existing::replace);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
}

void write_text_soon(const std::filesystem::path& path, std::string_view text) {
    const auto written = path.parent_path() / fmt::format(".{}.new", path.filename().string());
    std::error_code error;
    std::filesystem::remove(written, error);  // of a writer that was killed, or a link
    {
        std::ofstream stream(written, std::ios::binary | std::ios::trunc);
        stream << text;
        stream.close();
        if (!stream) error = std::make_error_code(std::errc::io_error);
    }
    if (!error) std::filesystem::rename(written, path, error);
    if (!error) return;
    std::error_code ignored;
    std::filesystem::remove(written, ignored);
    throw DataError(
        fmt::format("cannot write {}: {}; free some space there, or write elsewhere", path.string(), error.message()));
}

}  // namespace smp::runtime
