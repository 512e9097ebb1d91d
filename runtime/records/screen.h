// What a person watches: standard output, as a rule. A run neither waits for it nor ends with it: what the screen does
// not take, the log has.
#pragma once

#include <cstddef>
#include <string_view>

namespace smp::runtime {

class Screen {
  public:
    /// `descriptor` is open for writing and stays the caller's; −1: nowhere. `redraws`: it is a terminal that
    /// understands the sequences by which draw() replaces a line.
    explicit Screen(int descriptor, bool redraws = false) : descriptor_(descriptor), redraws_(redraws) {}
    ~Screen() { erase(); }
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;

    /// Writes `text` and the end of its line. What nobody takes for a second is dropped, and so is what follows until
    /// the reader goes on; a line then says how much was. Once writing fails (the reader is gone, the disk is full)
    /// nothing is written any more. Never throws. SIGPIPE must be ignored.
    void write(std::string_view text) noexcept;

    /// Shows `bar`, one line of fewer than columns(), below what was written, until the next call of anything here. The
    /// cursor stays on a line of its own: whatever ends the program, the shell's prompt does not follow the bar.
    void draw(std::string_view bar) noexcept;
    void erase() noexcept;

    /// Of the terminal, as it is now, or as COLUMNS says where it was not told; 0: no terminal, or of unknown size.
    std::size_t columns() const noexcept;

  private:
    bool takes_more(int patience_milliseconds) const noexcept;
    /// Whether all of it was written.
    bool put(std::string_view bytes) noexcept;

    int descriptor_;
    bool redraws_;
    bool bar_shown_ = false;
    long dropped_ = 0;  // since the reader stopped
};

}  // namespace smp::runtime
