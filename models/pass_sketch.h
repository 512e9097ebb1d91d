// What a pass of a segment takes, found by writing down what it makes, lets go and exchanges, in its order. A family
// writes one such sketch a pass beside the pass itself; the plan takes the sums (partition::PassUse).
#pragma once

#include <algorithm>
#include <cstdint>

#include "partition/job/module_graph.h"

namespace smp::models {

class PassSketch {
  public:
    /// A tensor of its own.
    void make(std::int64_t bytes) { change(bytes, bytes); }
    void drop(std::int64_t bytes) { change(-bytes, -bytes); }
    /// One that is there for a moment, beside all others.
    void pass_by(std::int64_t bytes) {
        make(bytes);
        drop(bytes);
    }
    /// A tensor that an earlier pass has left.
    void release(std::int64_t bytes) { change(0, -bytes); }
    /// Logits count in a category of their own.
    void make_logits(std::int64_t bytes) { change(0, bytes); }
    void drop_logits(std::int64_t bytes) { change(0, -bytes); }

    /// With the tensor group.
    void exchange(const partition::Exchange& exchange) { exchange_ += exchange; }

    partition::PassUse use() const {
        return {.scratch = most_made_, .growth = growth_, .left = live_, .exchange = exchange_};
    }

  private:
    void change(std::int64_t made, std::int64_t all) {
        made_ += made;
        live_ += all;
        most_made_ = std::max(most_made_, made_);
        growth_ = std::max(growth_, live_);
    }

    std::int64_t made_ = 0, most_made_ = 0;  // of its own
    std::int64_t live_ = 0, growth_ = 0;     // beyond what it found
    partition::Exchange exchange_;
};

}  // namespace smp::models
