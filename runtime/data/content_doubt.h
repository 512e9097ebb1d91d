// What speaks against reading a file as its name, or the configuration, says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "runtime/data/token_file_layout.h"

namespace smp::runtime {

/// Looked for in blocks spread over the file, so that a large one costs no more than a small one: what is certain there
/// holds for all that was looked at.
struct ContentDoubt {
    std::string what;      // completes "…": "looks like 4-byte integers (every second 2-byte token is 0)"
    std::string remedy;    // a clause: "set data.token_bytes = 4"
    bool certain = false;  // false: it could still be what it is read as
};

/// Against bare tokens of type uint16 or uint32: integers of another width or byte order, floating point, text.
/// Always certain: nothing else has such regularity.
std::optional<ContentDoubt> doubt_as_tokens(std::span<const std::byte> bytes, TokenType type, std::int64_t vocab_size);

/// Against text: control characters (certain where they are many), bytes that are no UTF-8 (never certain).
std::optional<ContentDoubt> doubt_as_text(std::span<const std::byte> bytes);

}  // namespace smp::runtime
