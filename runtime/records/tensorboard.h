// The metrics as TensorBoard reads them: event files, which are records of TensorFlow's framing (TFRecord) with
// messages of its protocol buffers (tensorflow/core/util/event.proto) in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"

namespace smp::runtime {

/// `data` framed: its length (8 bytes, least first), the length's sum, data, its sum. Sums are CRC-32C (Castagnoli,
/// reflected polynomial 0x82F63B78), rotated right by 15 bits, plus 0xA282EAD8.
std::string to_tf_record(std::string_view data);

/// A new file for each start of a run, named as TensorBoard wants: events.out.tfevents.<seconds>.<host>.<process>. A
/// scalar for each column of a step's record that is known, under the column's name; events of a run that goes on
/// replace those of the steps that it does again.
class TensorBoardFiles final : public Recorder {
  public:
    explicit TensorBoardFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

    /// Throws DataError, as do the others.
    void started(const RunStart& run) override;
    void stepped(const StepRecord& record) override;

  private:
    std::filesystem::path folder_;
    std::optional<LineFile> file_;
};

}  // namespace smp::runtime
