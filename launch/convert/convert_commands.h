// What smp_convert does. Each throws runtime::DataError or partition::ConfigError; what is to be made is complete or
// not there.
#pragma once

#include "launch/convert/convert_arguments.h"

namespace smp::launch {

/// Prints what the checkpoint is and what is in it, as text or JSON. Reads all of it, for the hash of its state.
void inspect_checkpoint(const ConvertArguments& arguments);

/// Prints a line if every sum holds; else throws, with the file and the bytes of the first that does not.
void verify_checkpoint(const ConvertArguments& arguments);

/// Prints a line about what was written, as the next two.
void export_checkpoint(const ConvertArguments& arguments);

/// Prints a line for each thing in the source that nothing is made of, too.
void import_checkpoint(const ConvertArguments& arguments);

void relayout_checkpoint(const ConvertArguments& arguments);

}  // namespace smp::launch
