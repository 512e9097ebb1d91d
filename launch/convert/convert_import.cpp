#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/convert/convert_commands.h"
#include "launch/convert/hugging_face_folder.h"
#include "launch/convert/llmc_model.h"
#include "models/gpt2/gpt2_spec.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/checkpoint/relaid.h"
#include "runtime/files/shown_text.h"
#include "runtime/state/model_weights.h"

namespace smp::launch {
namespace {

/// Hands over the values of a parameter, in parts.
using Values = std::function<void(const models::Parameter& parameter, const runtime::TakeBytes& take)>;

/// A checkpoint before the first step.
void write_first(const ConvertArguments& arguments, const models::Gpt2& model, const Values& values) {
    using runtime::StateKind;
    runtime::Manifest manifest{
        .state = {},
        .plan = "",
        .configuration = model.canonical_text(),
        .tensors = runtime::tensors_of(model),
        .files = {},
        .history = {
            {.after = 0, .by = "import", .from = std::filesystem::absolute(arguments.source).string(), .layout = ""}}};
    std::vector<runtime::PieceSource> pieces;
    for (int module = 0; module < model.module_count(); ++module) {
        for (const models::Parameter& parameter : model.parameters(module, 1, 0)) {
            if (!parameter.tied_to.empty()) continue;
            const std::int64_t elements = parameter.slice.global_numel();
            const auto add = [&](StateKind kind, const std::function<void(const runtime::TakeBytes&)>& source) {
                pieces.push_back({.piece = {.name = "",
                                            .tensor = parameter.name,
                                            .kind = kind,
                                            .slice = models::whole(elements),
                                            .of_slice = {0, elements}},
                                  .values = source});
            };
            add(StateKind::weight, [&values, parameter](const runtime::TakeBytes& take) { values(parameter, take); });
            for (const StateKind kind : {StateKind::first_moment, StateKind::second_moment})
                add(kind, [elements](const runtime::TakeBytes& take) {
                    const std::vector<std::byte> zeros(std::size_t{1} << 20);
                    for (auto left = sizeof(float) * static_cast<std::size_t>(elements); left > 0;) {
                        const std::size_t some = std::min(left, zeros.size());
                        take(std::span(zeros).first(some));
                        left -= some;
                    }
                });
        }
    }
    std::vector<std::vector<runtime::PieceSource>> files;
    files.push_back(std::move(pieces));
    runtime::write_checkpoint(arguments.target, std::move(manifest), std::move(files));
}

models::Gpt2 import_hugging_face(const ConvertArguments& arguments) {
    models::Gpt2 model(described_model(arguments.source));
    const runtime::ModelWeights weights(arguments.source, model, "config.json");
    for (int module = 0; module < model.module_count(); ++module) {
        for (const models::Parameter& parameter : model.parameters(module, 1, 0)) {
            if (!parameter.tied_to.empty()) weights.require_tied(parameter);
            weights.read(parameter, 0, {});  // is it there?
        }
    }
    write_first(arguments, model, [&](const models::Parameter& parameter, const runtime::TakeBytes& take) {
        constexpr std::int64_t kPart = std::int64_t{1} << 18;
        const std::int64_t elements = parameter.slice.global_numel();
        std::vector<float> part;
        for (std::int64_t first = 0; first < elements; first += kPart) {
            part.resize(static_cast<std::size_t>(std::min(kPart, elements - first)));
            weights.read(parameter, first, part);
            take(std::as_bytes(std::span(part)));
        }
        weights.let_go();
    });
    for (const std::string& sentence : weights.warnings())
        write_standard_output(fmt::format("{:<10} {}\n", "warning", runtime::escaped(sentence)));
    return model;
}

models::Gpt2 import_llmc(const ConvertArguments& arguments) {
    const LlmcModel source(arguments.source);
    models::Gpt2 model(source.options());
    write_first(arguments, model, [&](const models::Parameter& parameter, const runtime::TakeBytes& take) {
        take(std::as_bytes(std::span<const float>(source.read(parameter))));
    });
    return model;
}

}  // namespace

void import_checkpoint(const ConvertArguments& arguments) {
    const models::Gpt2 model =
        is_llmc_model(arguments.source) ? import_llmc(arguments) : import_hugging_face(arguments);
    write_standard_output(fmt::format("{}: {}, step 0\n", runtime::escaped(arguments.target), model.description()));
}

}  // namespace smp::launch
