// Twins of the .cu files for builds without CUDA, where no CUDA tensor can be.
#include <stdexcept>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/tile_attention.h"

namespace smp::models::kernels {

namespace {

[[noreturn]] void refuse() { throw std::logic_error("a CUDA tensor in a build without CUDA"); }

}  // namespace

void fill_dropout_mask_on_cuda(float*, const DropoutMask&, std::uint64_t, std::int64_t, std::uint32_t, std::int64_t,
                               std::int64_t, void*) {
    refuse();
}

namespace cuda {

void layer_norm(Elements, float*, float*, ConstElements, ConstElements, ConstElements, Matrix, double, void*) {
    refuse();
}
void layer_norm_backward_input(Elements, ConstElements, ConstElements, const float*, const float*, ConstElements,
                               ConstElements, Matrix, void*) {
    refuse();
}
void layer_norm_backward_weight(float*, float*, ConstElements, ConstElements, const float*, const float*, Matrix,
                                void*) {
    refuse();
}
void multiply(const Product&, void*) { refuse(); }
void fill_rows(Elements, ConstElements, Matrix, void*) { refuse(); }
void accumulate_column_sums(float*, ConstElements, Matrix, std::int64_t, void*) { refuse(); }
void gelu(Elements, ConstElements, std::int64_t, void*) { refuse(); }
void gelu_backward(Elements, ConstElements, ConstElements, std::int64_t, void*) { refuse(); }
void add_residual(Elements, ConstElements, ConstElements, ConstElements, Matrix, const RowDropout&, void*) { refuse(); }
bool takes_tiles(const HeadShape&, std::initializer_list<ConstElements>) { return false; }
void attention(Elements, float*, ConstElements, const HeadShape&, const WeightDropout&, void*) { refuse(); }
void attention_backward(Elements, float*, ConstElements, ConstElements, ConstElements, const float*, const HeadShape&,
                        const WeightDropout&, void*) {
    refuse();
}
void embed_tokens(Elements, const std::int64_t*, ConstElements, Matrix, std::int64_t, std::int64_t, void*) { refuse(); }
void add_positions(Elements, ConstElements, Matrix, std::int64_t, std::int64_t, void*) { refuse(); }
void accumulate_token_gradient(float*, ConstElements, const std::int64_t*, Matrix, std::int64_t, std::int64_t, void*) {
    refuse();
}
void accumulate_position_gradient(float*, ConstElements, std::int64_t, std::int64_t, std::int64_t, void*) { refuse(); }
void row_maxima(float*, LogitRows, void*) { refuse(); }
void exponential_sums(float*, LogitRows, const float*, const std::int64_t*, std::int64_t, void*) { refuse(); }
void add_cross_entropy(double*, const float*, std::int64_t, void*) { refuse(); }
void cross_entropy_gradient(LogitRows, const float*, const std::int64_t*, std::int64_t, double, Storage, void*) {
    refuse();
}
void clear(void*, std::size_t, void*) { refuse(); }

}  // namespace cuda
}  // namespace smp::models::kernels
