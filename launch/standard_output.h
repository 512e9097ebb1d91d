// Writing to standard output when its reader may leave, as `head` does.
#pragma once

#include <string_view>

namespace smp::launch {

/// The reader of standard output has closed it. No failure: the program ends, with 0.
struct ReaderIsGone {};

/// Writes all of `bytes`, unbuffered. Throws ReaderIsGone (SIGPIPE must be ignored), or runtime::DataError if they
/// cannot be written, as on a full disk.
void write_standard_output(std::string_view bytes);

}  // namespace smp::launch
