// Where the tests' randomness starts, so that every run can be repeated.
#pragma once

#include <cstdint>

namespace smp::testing {

/// SMP_SEED, or 1 where it is not set: continuous integration draws the same cases each time, `./tests/run --all` sets
/// a new one. Tests that draw cases start their generators from it, rapidcheck's properties do so by themselves;
/// generators of mere data have numbers of their own.
std::uint64_t seed();

/// Called by main, ahead of the first property: hands the seed to rapidcheck, unless RC_PARAMS is set, and prints how
/// to repeat this run. Ends the program with code 2 where SMP_SEED is no number.
void announce_seed();

}  // namespace smp::testing
