#include <cstdint>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/command/standard_output.h"
#include "launch/command/text_table.h"
#include "launch/convert/convert_commands.h"
#include "launch/convert/model_of_checkpoint.h"
#include "models/gpt2/gpt2_spec.h"
#include "runtime/checkpoint/state_hash.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {
namespace {

using Json = nlohmann::ordered_json;

/// Where a tensor lies: its weight and its moments.
struct Whereabouts {
    std::size_t pieces = 0;
    std::set<std::string_view> files;
};

std::map<std::string_view, Whereabouts> whereabouts(const runtime::Manifest& manifest) {
    std::map<std::string_view, Whereabouts> found;
    for (const runtime::PartFile& file : manifest.files) {
        for (const runtime::Piece& piece : file.pieces) {
            Whereabouts& where = found[piece.tensor];
            ++where.pieces;
            where.files.insert(file.name);
        }
    }
    return found;
}

std::int64_t parameters_of(const runtime::Manifest& manifest) {
    std::int64_t count = 0;
    for (const auto& [name, shape] : manifest.tensors) count += runtime::elements_of(shape);
    return count;
}

std::uint64_t bytes_of(const runtime::Manifest& manifest) {
    std::uint64_t bytes = 0;
    for (const runtime::PartFile& file : manifest.files) bytes += file.bytes;
    return bytes;
}

/// A line for each entry.
std::vector<std::string> history_lines(const runtime::Manifest& manifest) {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < manifest.history.size(); ++i) {
        const runtime::HistoryEntry& entry = manifest.history[i];
        const std::int64_t end = i + 1 < manifest.history.size() ? manifest.history[i + 1].after : manifest.state.steps;
        std::string line = entry.by == "training" ? fmt::format("steps {} to {}", entry.after + 1, end)
                                                  : fmt::format("{} after step {}", entry.by, entry.after);
        if (entry.by == "training" && end == entry.after) line = fmt::format("no step after {}", end);
        if (!entry.layout.empty()) line += fmt::format(", {}", entry.layout);
        if (!entry.from.empty()) line += fmt::format(", from {}", entry.from);
        for (const std::string& change : entry.changed) line += fmt::format("; {}", change);
        lines.push_back(runtime::escaped(line));
    }
    return lines;
}

std::string as_text(runtime::Checkpoint& checkpoint) {
    const runtime::Manifest& manifest = checkpoint.manifest();
    const runtime::TrainingState& state = manifest.state;
    std::string text;
    const auto row = [&](std::string_view label, const std::string& value) {
        text += fmt::format("{:<10} {}\n", label, value);
    };
    row("checkpoint", runtime::escaped(checkpoint.path().string()));
    row("step", fmt::format("{}, {} without an update", state.steps, state.skipped_updates()));
    row("tokens", fmt::format("{}", state.tokens));
    row("samples", fmt::format("{}", state.samples));
    row("loss scale", state.loss_scale ? fmt::format("{}, {} steps since it changed", state.loss_scale->scale,
                                                     state.loss_scale->good_steps)
                                       : "none");
    row("plan", manifest.plan.empty() ? "none: imported" : runtime::escaped(manifest.plan));
    row("model", models::Gpt2(model_of(checkpoint)).description());
    row("parameters", fmt::format("{}", parameters_of(manifest)));
    row("files", fmt::format("{}, {} bytes", manifest.files.size(), bytes_of(manifest)));
    row("hash", runtime::state_hash(checkpoint));
    for (const std::string& line : history_lines(manifest)) row("history", line);
    std::vector<std::vector<std::string>> table = {{"tensor", "shape", "pieces", "files"}};
    auto where = whereabouts(manifest);
    for (const auto& [name, shape] : manifest.tensors)
        table.push_back({runtime::escaped(name), fmt::format("[{}]", fmt::join(shape, ", ")),
                         fmt::format("{}", where[name].pieces), fmt::format("{}", where[name].files.size())});
    return text + '\n' + text_table(table, /*left_columns=*/2);
}

std::string as_json(runtime::Checkpoint& checkpoint) {
    const runtime::Manifest& manifest = checkpoint.manifest();
    const runtime::TrainingState& state = manifest.state;
    Json object = {{"checkpoint", checkpoint.path().string()},
                   {"step", state.steps},
                   {"updates", state.updates},
                   {"tokens", state.tokens},
                   {"samples", state.samples},
                   {"loss_scale", nullptr},
                   {"plan", manifest.plan},
                   {"configuration", manifest.configuration},
                   {"parameters", parameters_of(manifest)},
                   {"bytes", bytes_of(manifest)},
                   {"hash", runtime::state_hash(checkpoint)},
                   {"history", Json::array()},
                   {"files", Json::array()},
                   {"tensors", Json::array()}};
    if (state.loss_scale) object["loss_scale"] = state.loss_scale->scale;
    for (const runtime::HistoryEntry& entry : manifest.history)
        object["history"].push_back({{"after", entry.after},
                                     {"by", entry.by},
                                     {"from", entry.from},
                                     {"layout", entry.layout},
                                     {"changed", entry.changed}});
    for (const runtime::PartFile& file : manifest.files)
        object["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"pieces", file.pieces.size()}});
    auto where = whereabouts(manifest);
    for (const auto& [name, shape] : manifest.tensors)
        object["tensors"].push_back(
            {{"name", name}, {"shape", shape}, {"pieces", where[name].pieces}, {"files", where[name].files.size()}});
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

void inspect_checkpoint(const ConvertArguments& arguments) {
    runtime::Checkpoint checkpoint = open_checkpoint(arguments.source);
    write_standard_output(arguments.report == ReportFormat::json ? as_json(checkpoint) : as_text(checkpoint));
}

}  // namespace smp::launch
