// One line of a JSON lines file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace smp::launch {

struct JsonLine {
    std::optional<std::string> text;  // under the key, if it is there and text
    std::string problem;              // completes "the line …": empty if there is none
};

/// The text under a key of the object in `line`. Only that value has to be proper JSON: in others stands what Python's
/// json writes too (NaN, Infinity, halves of surrogate pairs, numbers of any size), nested as deep as it may be. Of a
/// key that stands twice the last one counts, as in Python.
JsonLine read_json_line(std::string_view line, std::string_view key);

}  // namespace smp::launch
