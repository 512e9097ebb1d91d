// The operators of a model alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "launch/bench/bench_arguments.h"
#include "launch/config/config.h"

namespace smp::launch {

/// One operator on tensors of its own.
struct OperatorCase {
    std::string name;   // "linear up"
    std::string shape;  // "[512, 256] x [256, 1024]"
    double flops = 0;   // of matrix products and attention; 0: what it does is moving memory …
    double bytes = 0;   // … so many, read and written
    std::function<void()> run;
};

/// Those of a layer, the embedding and the head, on one rank and one microbatch of the job on `ranks` ranks, in its
/// precision. FLOPs as models::gpt2_work counts them (causal attention in full).
std::vector<OperatorCase> operators_of(const Config& config, int ranks);

/// Measures each on its own, on the CPU with the threads of one rank, and answers on standard output and in --output.
/// Throws partition::ConfigError for a job that is none.
void measure_operators(const BenchArguments& arguments);

}  // namespace smp::launch
