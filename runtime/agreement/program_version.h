// Which build of smp this is.
#pragma once

#include <string>

namespace smp::runtime {

/// "0.1.0, build 3f2a…": the project's version, and the build id that the linker has made of the content of the program
/// or library that holds smp's runtime. Two builds have the same only where they are the same code.
std::string program_version();

}  // namespace smp::runtime
