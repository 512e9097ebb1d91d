#include "launch/convert/hugging_face_folder.h"

#include <span>
#include <string>
#include <vector>

#include "launch/convert/model_of_checkpoint.h"
#include "models/gpt2/hugging_face.h"
#include "runtime/files/output_file.h"
#include "runtime/files/safetensors.h"

namespace smp::launch {

void export_hugging_face(runtime::Checkpoint& checkpoint, const std::filesystem::path& folder,
                         runtime::OutputFolder::Existing existing) {
    const std::string config = models::gpt2_config_json(model_of(checkpoint));
    std::vector<runtime::SafetensorsSource> tensors;
    for (const auto& [name, shape] : checkpoint.manifest().tensors)
        tensors.push_back({.name = models::gpt2_name_in_files(name),
                           .shape = shape,
                           .bytes = [&, &name = name, &shape = shape](const runtime::TakeBytes& take) {
                               checkpoint.read_all(name, runtime::StateKind::weight, 0, runtime::elements_of(shape),
                                                   [&](std::span<const float> values) { take(std::as_bytes(values)); });
                           }});
    runtime::OutputFolder output(folder, existing);
    runtime::stream_safetensors(output.path() / "model.safetensors", tensors, {{"format", "pt"}});
    runtime::OutputFile file(output.path() / "config.json", runtime::OutputFile::Existing::keep);
    file.write(std::as_bytes(std::span(config)));
    file.commit();
    output.commit();
}

}  // namespace smp::launch
