#include <cstdint>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/command/text_table.h"
#include "launch/convert/convert_commands.h"
#include "launch/convert/model_of_checkpoint.h"
#include "runtime/files/data_error.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {

void verify_checkpoint(const ConvertArguments& arguments) {
    runtime::Checkpoint checkpoint = open_checkpoint(arguments.source);
    if (const auto faults = checkpoint.faults(); !faults.empty())
        throw runtime::DataError(faults.size() == 1
                                     ? faults.front()
                                     : fmt::format("{}; {} more faults follow", faults.front(), faults.size() - 1));
    std::uint64_t bytes = 0;
    for (const runtime::PartFile& file : checkpoint.manifest().files) bytes += file.bytes;
    write_standard_output(
        fmt::format("{}: every sum holds ({}, {} bytes)\n", runtime::escaped(checkpoint.path().string()),
                    counted(static_cast<std::int64_t>(checkpoint.manifest().files.size()), "file"), bytes));
}

}  // namespace smp::launch
