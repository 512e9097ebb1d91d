#include "tests/standin/twins.h"

#include <array>

#include "comms/collectives/device_sum.h"
#include "tests/standin/numbers.h"

namespace smp::standin {

namespace {

template <typename Narrow, typename Wide = Narrow>
void combine_numbers(const comms::DeviceSum& sum) {
    const std::span inputs(sum.inputs, static_cast<std::size_t>(sum.input_count));
    const std::span outputs(sum.outputs, static_cast<std::size_t>(sum.output_count));
    combine<Narrow, Wide>(sum.maximum, inputs, outputs, sum.numel, static_cast<const Wide*>(sum.so_far),
                          static_cast<Wide*>(sum.carried));
}

void combine_pointers(dim3, dim3, const void* const* arguments) {
    const auto& sum = *static_cast<const comms::DeviceSum*>(arguments[0]);
    using comms::NumberType;
    switch (sum.type) {
        case NumberType::float32: return combine_numbers<float>(sum);
        case NumberType::float64: return combine_numbers<double>(sum);
        case NumberType::float16: return combine_numbers<c10::Half, float>(sum);
        case NumberType::bfloat16: return combine_numbers<c10::BFloat16, float>(sum);
        case NumberType::int32: return combine_numbers<std::int32_t>(sum);
        case NumberType::int64: return combine_numbers<std::int64_t>(sum);
    }
}

}  // namespace

const Twin* twin_of(std::string_view kernel) {
    static const std::array twins{
        Twin{.kernel = "void smp::comms::combine_pointers<",
             .argument_bytes = {sizeof(comms::DeviceSum)},
             .run = combine_pointers},
    };
    for (const Twin& twin : twins)
        if (kernel.starts_with(twin.kernel)) return &twin;
    return nullptr;
}

}  // namespace smp::standin
