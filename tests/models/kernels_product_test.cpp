// Products against the sum that product.h defines, term by term: bits.
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/product.h"
#include "models/kernels/product_tile.h"
#include "models/kernels/vector_math.h"

namespace smp::models::kernels {
namespace {

using Floats = std::vector<float>;

Floats random_floats(std::size_t count, std::mt19937& generator) {
    std::normal_distribution<float> normal;
    Floats values(count);
    for (float& value : values) value = normal(generator);
    return values;
}

float at(const MatrixView& x, std::int64_t i, std::int64_t j) { return *x.at(i, j).fp32(); }

bool fuses() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

float add_term(float a, float b, float sum) { return fuses() ? std::fma(a, b, sum) : a * b + sum; }

/// The definition.
float element(const Product& p, std::int64_t i, std::int64_t j, float held) {
    float value = p.start == Start::sum ? held : p.start == Start::bias ? p.bias[j] : 0;
    for (std::int64_t block = 0; block < p.k; block += 256) {
        float sum = 0;
        for (std::int64_t k = block; k < p.k && k < block + 256; ++k) sum = add_term(at(p.a, i, k), at(p.b, k, j), sum);
        value = block == 0 && p.start == Start::zero ? sum : value + sum;
    }
    return value;
}

struct Case {
    std::int64_t m, n, k;
};

void check(const Case& shape, bool a_transposed, bool b_transposed, Start start, std::int64_t offset,
           std::mt19937& generator) {
    const auto [m, n, k] = shape;
    const std::int64_t a_stride = (a_transposed ? m : k) + offset, b_stride = (b_transposed ? k : n) + 2 * offset,
                       c_stride = n + offset;
    const Floats a = random_floats(static_cast<std::size_t>((m + k) * a_stride + offset), generator);
    const Floats b = random_floats(static_cast<std::size_t>((n + k) * b_stride + offset), generator);
    const Floats bias = random_floats(static_cast<std::size_t>(n + offset), generator);
    const Floats before = random_floats(static_cast<std::size_t>(m * c_stride + offset), generator);
    Floats c = before;
    const Product product{
        .m = m,
        .n = n,
        .k = k,
        .a = {a.data() + offset, a_transposed ? 1 : a_stride, a_transposed ? a_stride : 1},
        .b = {b.data() + offset, b_transposed ? 1 : b_stride, b_transposed ? b_stride : 1},
        .c = c.data() + offset,
        .c_stride = c_stride,
        .start = start,
        .bias = bias.data() + offset,
    };
    multiply(product);
    Floats expected = before;
    for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
            float& held = expected[static_cast<std::size_t>(offset + i * c_stride + j)];
            held = element(product, i, j, held);
        }
    // All of the buffer: nothing beside the product may change either.
    ASSERT_EQ(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)), 0)
        << m << " × " << n << " × " << k << ", a " << (a_transposed ? "transposed" : "plain") << ", b "
        << (b_transposed ? "transposed" : "plain") << ", start " << static_cast<int>(start) << ", offset " << offset;
}

TEST(KernelsProduct, HasTheBitsOfItsDefinition) {
    std::mt19937 generator(1);
    std::vector<Case> shapes = {{1, 1, 1},   {1, 503, 64},  {6, 16, 256}, {7, 17, 257}, {64, 64, 64},   {40, 126, 48},
                                {96, 33, 9}, {97, 40, 300}, {5, 1030, 3}, {13, 31, 0},  {20, 1100, 513}};
    std::uniform_int_distribution<std::int64_t> size(1, 120), depth(1, 300);
    for (int i = 0; i < 20; ++i) shapes.push_back({size(generator), size(generator), depth(generator)});
    int turn = 0;
    for (const Case& shape : shapes)
        for (const bool a_transposed : {false, true})
            for (const bool b_transposed : {false, true}) {
                const Start start = static_cast<Start>(turn++ % 3);
                check(shape, a_transposed, b_transposed, start, turn % 5, generator);
            }
}

TEST(KernelsProduct, APartHasTheBitsOfTheWhole) {
    std::mt19937 generator(2);
    constexpr std::int64_t kRows = 150, kColumns = 200, kTerms = 300;
    const Floats a = random_floats(kRows * kTerms, generator), b = random_floats(kTerms * kColumns, generator);
    Floats whole(kRows * kColumns), parts(kRows * kColumns);
    Product product{.m = kRows,
                    .n = kColumns,
                    .k = kTerms,
                    .a = {a.data(), kTerms, 1},
                    .b = {b.data(), kColumns, 1},
                    .c = whole.data(),
                    .c_stride = kColumns};
    multiply(product);
    product.c = parts.data();
    for (std::int64_t row = 0; row < kRows; row += 37)
        for (std::int64_t column = 0; column < kColumns; column += 41)
            multiply(part_of(product, row, std::min<std::int64_t>(37, kRows - row), column,
                             std::min<std::int64_t>(41, kColumns - column)));
    EXPECT_EQ(whole, parts);
}

struct Tile {
    std::string name;
    ProductTile tile;
    std::int64_t rows, columns;
    bool fused;
};

void check_tile(const Tile& tile, std::int64_t terms, std::mt19937& generator) {
    const auto rows = static_cast<std::size_t>(tile.rows), columns = static_cast<std::size_t>(tile.columns);
    const auto steps = static_cast<std::size_t>(terms);
    const Floats a = random_floats(rows * steps, generator), values = random_floats(columns * steps, generator);
    Floats room(values.size() + 16);
    float* b = room.data();
    while (reinterpret_cast<std::uintptr_t>(b) % 64 != 0) ++b;
    std::copy(values.begin(), values.end(), b);
    Floats c = random_floats(rows * columns, generator), expected = c;
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j) {
            float sum = 0;
            for (std::size_t t = 0; t < steps; ++t) {
                const float x = a[t * rows + i], y = b[t * columns + j];
                sum = tile.fused ? std::fma(x, y, sum) : x * y + sum;
            }
            expected[i * columns + j] += sum;
        }
    tile.tile(terms, a.data(), b, c.data(), tile.columns, c.data(), tile.columns);
    EXPECT_EQ(c, expected) << tile.name << ", " << tile.columns << " columns, " << terms << " terms";
}

// Every instruction set of this machine, not only the one that is chosen.
TEST(KernelsProduct, TilesOfAllInstructionSetsAgree) {
    std::vector<Tile> tiles;
    const auto add = [&](const char* name, const ProductKernel& kernel, bool fused) {
        tiles.push_back({name, kernel.wide, kernel.rows, kernel.wide_columns, fused});
        tiles.push_back({name, kernel.narrow, kernel.rows, kernel.narrow_columns, fused});
    };
    add("portable", product_kernel_portable(), false);
    if (fuses()) add("AVX2", product_kernel_avx2(), true);
    if (__builtin_cpu_supports("avx512f")) add("AVX-512", product_kernel_avx512(), true);
    std::mt19937 generator(3);
    for (const Tile& tile : tiles)
        for (const std::int64_t terms : {0, 1, 3, 64, 256}) check_tile(tile, terms, generator);
}

// Against fp64: the arguments of softmax and GELU, and beyond them.
TEST(KernelsVectorMath, ExponentialIsWithinTwoUnits) {
    double worst = 0;
    for (double x = -87; x <= 88.7; x += 1.37e-4) {
        const auto argument = static_cast<float>(x);
        const double exact = std::exp(static_cast<double>(argument));
        int exponent = 0;
        std::frexp(exact, &exponent);
        worst = std::max(worst, std::abs(exponential(argument) - exact) / std::ldexp(1.0, exponent - 24));
    }
    EXPECT_LE(worst, 2);
    EXPECT_EQ(exponential(0), 1);
    EXPECT_EQ(exponential(-1000), 0);
    EXPECT_EQ(exponential(-INFINITY), 0);
    for (float x = -104; x < -87; x += 0.01F) EXPECT_NEAR(exponential(x), std::exp(static_cast<double>(x)), 4e-38);
    EXPECT_GT(exponential(1000), 3e38F);
    EXPECT_TRUE(std::isnan(exponential(NAN)));
}

}  // namespace
}  // namespace smp::models::kernels
