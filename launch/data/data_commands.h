// What smp_data does. Each throws runtime::DataError or partition::ConfigError; encode and decode leave no half-written
// file.
#pragma once

#include "launch/data/data_arguments.h"

namespace smp::launch {

/// Text files into one token file; prints a summary line.
void encode_text(const DataArguments& arguments);

/// Prints for each file what it is and what is in it. Tokens may have any value.
void inspect_tokens(const DataArguments& arguments);

/// The files' tokens, or a range of one file's, as text into a file or to standard output.
void decode_tokens(const DataArguments& arguments);

}  // namespace smp::launch
