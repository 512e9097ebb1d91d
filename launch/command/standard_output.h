// Programs that answer on standard output, whose reader may leave, as `head` does.
#pragma once

#include <functional>
#include <string_view>

namespace smp::launch {

/// The reader of standard output has closed it. No failure: the program ends, with 0.
struct ReaderIsGone {};

/// Writes all of `bytes`, unbuffered. Throws ReaderIsGone (SIGPIPE must be ignored), or runtime::DataError if they
/// cannot be written, as on a full disk.
void write_standard_output(std::string_view bytes);

/// Runs the whole of a program, and turns what it throws into one message on standard error and the exit code of
/// INTERFACE §5 (0 where the reader is gone). `memory_remedy`: what a person can do when memory is out. Prepares the
/// standard streams.
int answer_on_standard_output(const char* program, const char* memory_remedy, const std::function<void()>& body);

}  // namespace smp::launch
