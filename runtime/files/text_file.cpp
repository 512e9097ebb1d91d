#include "runtime/files/text_file.h"

#include <fstream>
#include <iterator>
#include <span>

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

}  // namespace smp::runtime
