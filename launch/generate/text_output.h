// Text on standard output while it comes, token by token.
#pragma once

#include <string>
#include <string_view>

namespace smp::launch {

/// A file or a pipe gets the bytes as they are; on a terminal those that would do something else than show text are
/// escaped, once the characters that they may be part of are whole.
class TextOutput {
  public:
    explicit TextOutput(bool is_terminal) : is_terminal_(is_terminal) {}

    /// As write_standard_output().
    void write(std::string_view bytes);
    /// What is still held back, and a line break.
    void end_line();

  private:
    bool is_terminal_;
    std::string held_;  // the beginning of a character
};

}  // namespace smp::launch
