#include "launch/command/help.h"

#include <algorithm>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launch/config/config.h"

namespace smp::launch {

std::size_t help_width() {
    winsize size{};
    int columns = 80;
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    else if (const char* given = std::getenv("COLUMNS"); given != nullptr && std::atoi(given) > 0)
        columns = std::atoi(given);
    return static_cast<std::size_t>(std::clamp(columns, 40, 120));
}

void add_help(cxxopts::Options& options) {
    options.add_options()("h,help", "this text; with a SECTION, the keys of that section of a configuration",
                          cxxopts::value<std::string>()->implicit_value(""), "SECTION");
}

std::string help_text(cxxopts::Options& options, const cxxopts::ParseResult& parsed, const char* examples) {
    auto section = parsed["help"].as<std::string>();
    if (section.empty() && !parsed.unmatched().empty()) section = parsed.unmatched().front();  // --help SECTION
    if (!section.empty()) return keys_help(section, help_width());
    options.set_width(help_width());
    return fmt::format("{}{}\nKeys of a configuration, section by section (--help SECTION shows one):\n\n{}",
                       options.help(), examples, keys_help("", help_width()));
}

}  // namespace smp::launch
