#include "runtime/execution/text_sampler.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "models/kernels/philox.h"
#include "partition/job/problem.h"

namespace smp::runtime {

namespace {

constexpr std::uint64_t kSampling = 0x73616d706c65;  // "sample": apart from the keys of weights and dropout

/// In [0, 1), a function of its arguments alone.
double uniform(std::uint64_t seed, std::uint64_t step, std::uint64_t draw) {
    using models::kernels::mix;
    return static_cast<double>(mix(mix(mix(kSampling, seed), step), draw) >> 11) /
           static_cast<double>(std::uint64_t{1} << 53);
}

}  // namespace

TextSampler::TextSampler(const Job& job, std::int64_t length, std::uint64_t step)
    : length_(length),
      wanted_(job.training.sample_tokens),
      temperature_(job.training.sample_temperature),
      seed_(job.training.seed),
      step_(step) {
    const auto tokenizer = make_tokenizer(job.data);
    writable_ = tokenizer->vocab_size();
    text_ = tokenizer->encode(job.training.sample_prompt.empty() ? "\n" : job.training.sample_prompt);
    const std::int64_t vocabulary = job.model.spec->vocabulary();
    for (const std::int64_t token : text_)
        if (token >= vocabulary)
            throw partition::ConfigError(partition::Problem{
                "training.sample_prompt",
                fmt::format("has token {}, and the model has {} only; choose another prompt, or a vocabulary of {} as "
                            "data.tokenizer = {} has it",
                            token, vocabulary, writable_, tokenizer->name())});
}

at::Tensor TextSampler::context() const {
    const at::Tensor tokens = at::zeros({1, length_}, at::kLong);
    const auto count = std::min<std::int64_t>(length_, static_cast<std::int64_t>(text_.size()));
    std::copy(text_.end() - count, text_.end(), tokens.data_ptr<std::int64_t>());
    return tokens;
}

std::int64_t TextSampler::position() const {
    return std::min<std::int64_t>(length_, static_cast<std::int64_t>(text_.size())) - 1;
}

std::int64_t TextSampler::draw(const at::Tensor& logits) const {
    const float* values = logits.const_data_ptr<float>();
    const float* end = values + std::min(writable_, logits.numel());
    const float* largest = std::max_element(values, end);
    if (temperature_ == 0) return largest - values;

    double total = 0;
    for (const float* value = values; value != end; ++value) total += std::exp((*value - *largest) / temperature_);
    double rest = total * uniform(seed_, step_, drawn_.size());
    for (const float* value = values; value != end; ++value) {
        rest -= std::exp((*value - *largest) / temperature_);
        if (rest < 0) return value - values;
    }
    return largest - values;
}

void TextSampler::append(std::int64_t token) {
    text_.push_back(token);
    drawn_.push_back(token);
}

}  // namespace smp::runtime
