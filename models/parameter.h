// A parameter as a value: its name, its shape, which part of it a tensor rank holds and how it starts. No tensor yet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/slice.h"

namespace smp::models {

enum class Start { zeros, ones, normal };

/// How a parameter starts: element e of the global tensor depends on (seed, name, e) alone; of a tied parameter on the
/// name it is tied to.
struct Initialisation {
    Start start = Start::zeros;
    double standard_deviation = 0;
};

struct Parameter {
    std::string name;                        // Hugging Face's, without "transformer.": "h.0.attn.c_attn.weight"
    std::vector<std::int64_t> global_shape;  // logical, without padding
    std::vector<std::int64_t> local_shape;   // of this tensor rank, padding included
    Slice slice;
    Initialisation initialisation;
    bool sharded = false;  // over tensor ranks; otherwise every tensor rank holds all of it, with equal gradients
    bool decays = false;   // weight decay: two dimensions or more
    std::string tied_to;   // for a tied head: the name of the embedding whose values it uses; its gradient is a buffer
                           // of its own
    /// Its gradient sees the rows (tokens) that its tensor rank holds and no others: where those are sharded, the
    /// ranks' gradients are the parts of a sum (LayerNorm's).
    bool follows_rows = false;
};

}  // namespace smp::models
