#include "runtime/execution/text_sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

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

TextRequest text_request(const TrainingOptions& training, std::int64_t step) {
    return {.prompt = training.sample_prompt,
            .tokens = training.sample_tokens,
            .temperature = training.sample_temperature,
            .seed = training.seed,
            .step = static_cast<std::uint64_t>(step)};
}

TextSampler::TextSampler(TextRequest request, const Job& job, std::int64_t length)
    : request_(std::move(request)), length_(length) {
    const auto tokenizer = make_tokenizer(job.data);
    writable_ = tokenizer->vocab_size();
    text_ = tokenizer->encode(request_.prompt.empty() ? "\n" : request_.prompt);
    const std::int64_t vocabulary = job.model.spec->vocabulary();
    for (const std::int64_t token : text_)
        if (token >= vocabulary)
            throw partition::ConfigError(partition::Problem{
                request_.prompt_name,
                fmt::format("has token {}, and the model has {} only; choose another prompt, or a vocabulary of {} as "
                            "data.tokenizer = {} has it",
                            token, vocabulary, writable_, tokenizer->name())});
}

at::Tensor TextSampler::context() const {
    at::Tensor tokens = at::zeros({1, length_}, at::kLong);
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
    if (request_.temperature == 0) return largest - values;

    const float least = threshold(std::span(values, end));
    const auto weight = [&](float value) {
        return value < least ? 0.0 : std::exp((value - *largest) / request_.temperature);
    };
    double total = 0;
    for (const float* value = values; value != end; ++value) total += weight(*value);
    double rest = total * uniform(request_.seed, request_.step, drawn_.size());
    for (const float* value = values; value != end; ++value) {
        rest -= weight(*value);
        if (rest < 0) return value - values;
    }
    return largest - values;
}

float TextSampler::threshold(std::span<const float> logits) const {
    if (request_.top_k == 0 || request_.top_k >= std::ssize(logits)) return -std::numeric_limits<float>::infinity();
    std::vector<float> sorted(logits.begin(), logits.end());
    const auto last = sorted.begin() + request_.top_k - 1;
    std::ranges::nth_element(sorted, last, std::greater());
    return *last;
}

void TextSampler::append(std::int64_t token) {
    text_.push_back(token);
    drawn_.push_back(token);
}

}  // namespace smp::runtime
