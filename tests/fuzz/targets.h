// What is fuzzed: readers of files that anybody may have written or damaged. Each takes one input; DataError is what
// they are there to throw, anything else is a fault.
//
// build-fuzz/bin/fuzz_safetensors tests/fuzz/corpus/safetensors -max_total_time=600, likewise fuzz_manifest; made by
//     CXX=clang++-14 CC=clang-14 cmake -S . -B build-fuzz -G Ninja -DSMP_FUZZ=ON -DSMP_SANITIZE=address
//     cmake --build build-fuzz --target fuzz_safetensors fuzz_manifest
// What a fuzzer has found becomes a file of the corpus, which the tests run.
#pragma once

#include <cstddef>
#include <span>

namespace smp::testing {

/// A safetensors file: header and tensors, all bytes read.
void fuzz_safetensors(std::span<const std::byte> input);

/// A manifest.json without the sum at its end, which is added: no input would find it. What is read is written and read
/// again.
void fuzz_manifest(std::span<const std::byte> input);

}  // namespace smp::testing
