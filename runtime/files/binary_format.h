// Which of the common binary formats a file has, by the bytes that these formats begin with.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace smp::runtime {

struct BinaryFormat {
    std::string_view name;    // completes "is …": "a gzip archive"
    std::string_view remedy;  // a clause: "decompress it (gunzip)"
};

/// Nothing for text, for tokens without a header, and for what is not in the list: archives and compressed files,
/// arrays and tables, weights, pictures and documents, text in UTF-16 and UTF-32 with a byte order mark. A mark that
/// text or tokens could begin with by chance counts only together with others (the end of the file, a length that
/// fits).
std::optional<BinaryFormat> binary_format(std::span<const std::byte> bytes);

}  // namespace smp::runtime
