#include "launch/bench/answer.h"

#include "launch/command/standard_output.h"
#include "runtime/files/text_file.h"

namespace smp::launch {

void give_answer(const Report& report, ReportFormat format, const std::string& output) {
    if (!output.empty()) runtime::write_text(output, in_format(report, format));
    write_standard_output(in_format(report, output.empty() ? format : ReportFormat::text));
}

}  // namespace smp::launch
