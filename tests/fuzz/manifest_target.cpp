#include <cstdint>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include "runtime/checkpoint/manifest.h"
#include "runtime/files/data_error.h"
#include "runtime/files/sum128.h"
#include "tests/fuzz/targets.h"

namespace smp::testing {

void fuzz_manifest(std::span<const std::byte> input) {
    std::string text(reinterpret_cast<const char*>(input.data()), input.size());
    text += fmt::format(",\n\t\"sum\": \"{}\"\n}}\n", runtime::sum128(std::as_bytes(std::span(text))));
    try {
        const runtime::Manifest manifest = runtime::parse_manifest(text, "manifest.json");
        if (runtime::parse_manifest(runtime::to_json(manifest), "manifest.json") != manifest)
            throw std::logic_error("a manifest is another one when it is written and read again");
        for (const runtime::PartFile& file : manifest.files) {
            for (const runtime::Piece& piece : file.pieces) {
                constexpr std::int64_t kMostRuns = 1 << 12;  // of a slice: a run takes time here
                if (piece.slice.outer * piece.slice.parts > kMostRuns) continue;
                if (runtime::elements_of(piece) > piece.slice.global_numel())
                    throw std::logic_error("a piece has more elements than its tensor");
            }
        }
    } catch (const runtime::DataError&) {}
}

}  // namespace smp::testing
