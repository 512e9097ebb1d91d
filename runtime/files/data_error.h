// What is wrong with a data set, a token file, a vocabulary or a weights file.
#pragma once

#include <stdexcept>

namespace smp::runtime {

/// One full sentence: which file (and byte), what is there, what is allowed, what to do. Programs leave with exit
/// code 3.
class DataError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace smp::runtime
