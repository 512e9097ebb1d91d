// The kernels of an update, run on the host: the norm's sum to the bit of the CPU's, AdamW beside its formula in fp64.
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/kernels/own_kernels.h"
#include "runtime/state/exact_sum.h"
#include "runtime/state/flat_layout.h"
#include "runtime/update/cuda/update_kernels.h"
#include "runtime/update/gradient_norm.h"
#include "tests/cuda_on_host/cuda_on_host.h"
#include "tests/seed.h"

namespace smp::runtime {
namespace {

class UpdateOnHost : public ::testing::Test {
  protected:
    void SetUp() override {
        at::manual_seed(testing::seed());
        testing::cuda_on_host::set_seed(testing::seed());
    }
};

ExactSum squares(const at::Tensor& values) {
    std::vector<std::int64_t> words(ExactSum::kWords);
    cuda::add_squares(words.data(), values.const_data_ptr<float>(), values.numel(), nullptr);
    return ExactSum::from_words(words);
}

TEST_F(UpdateOnHost, SquaresHaveTheBitsOfTheCpu) {
    for (const std::int64_t count : {1, 7, 64, 65, 2048, 2049, 70'001}) {
        const at::Tensor values = at::randn({count}) * at::randn({count}).mul(20).exp();  // of all sizes
        const std::vector<Range> all = {{0, count}};
        EXPECT_EQ(squares(values).words(), sum_of_squares(values, all, all).words()) << count;
    }
    at::Tensor values = at::full({130}, 1e-30F);  // squares below the normal numbers of fp32
    EXPECT_NEAR(squares(values).value(), 130e-60, 1e-66);
    values[100] = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(std::isnan(squares(values).value()));
}

TEST_F(UpdateOnHost, ANumberThatIsNotFiniteIsMarkedWhereverItLies) {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
        for (const std::int64_t count : {1, 255, 257, 1000}) {
            std::int32_t mark = 0;
            const double largest = type == at::kHalf ? 65504 : 3.3e38;
            const at::Tensor values = at::full({count}, largest, type);
            const auto look = [&] {
                cuda::mark_non_finite(&mark, models::kernels::elements(values), count, nullptr);
                return mark;
            };
            EXPECT_EQ(look(), 0) << "the largest number is one";
            for (const std::int64_t at : {std::int64_t{0}, count / 2, count - 1})
                for (const float planted : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
                    const at::Tensor place = values.narrow(0, at, 1);
                    place.fill_(planted);
                    EXPECT_EQ(look(), 1) << planted << " at " << at << " of " << count;
                    place.fill_(largest);
                    EXPECT_EQ(look(), 1) << "a mark stays";
                    mark = 0;
                }
        }
}

// Some ten roundings of numbers of the size of what they are part of; a square root halves a relative error.
TEST_F(UpdateOnHost, AdamWIsItsFormula) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
        for (const std::int64_t count : {1, 255, 1000}) {
            at::Tensor value = at::randn({count}), gradient = at::randn({count}) * 8, first = at::zeros({count}),
                       second = at::zeros({count}), rounded = value.to(type);
            at::Tensor w = value.to(at::kDouble), m = at::zeros({count}, at::kDouble), v = at::zeros_like(m);
            for (int update = 1; update <= 3; ++update) {
                const double rate = 0.01 * update, beta1 = 0.9, beta2 = 0.95, decay = 0.1, epsilon = 1e-8, factor = 0.3;
                const cuda::StepDecision decision{.factor = factor, .updates = 1};
                cuda::adamw({.value = value.mutable_data_ptr<float>(),
                             .rounded = type == at::kFloat ? models::kernels::Elements{}
                                                           : models::kernels::mutable_elements(rounded),
                             .gradient = gradient.const_data_ptr<float>(),
                             .first_moment = first.mutable_data_ptr<float>(),
                             .second_moment = second.mutable_data_ptr<float>()},
                            count,
                            {.update = update,
                             .learning_rate = rate,
                             .beta1 = beta1,
                             .beta2 = beta2,
                             .epsilon = epsilon,
                             .weight_decay = decay},
                            &decision, nullptr);
                const at::Tensor g = gradient.to(at::kDouble) * factor;
                m = beta1 * m + (1 - beta1) * g;
                v = beta2 * v + (1 - beta2) * g * g;
                w = w - rate * decay * w -
                    rate / (1 - std::pow(beta1, update)) * m / ((v / (1 - std::pow(beta2, update))).sqrt() + epsilon);
                gradient.mul_(-0.7F);
            }
            EXPECT_TRUE(at::allclose(value.to(at::kDouble), w, 1e-6, 1e-7)) << count;
            EXPECT_TRUE(at::allclose(first.to(at::kDouble), m, 1e-6, 1e-7)) << count;
            EXPECT_TRUE(at::allclose(second.to(at::kDouble), v, 1e-6, 1e-7)) << count;
            EXPECT_TRUE(type == at::kFloat || rounded.equal(value.to(type)));
        }
}

}  // namespace
}  // namespace smp::runtime
