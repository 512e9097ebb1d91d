// gelu(x) = x/2 · (1 + tanh(u)) = x · s with u = √(2/π) · (x + 0.044715 x³) and s = 1 / (1 + e), e = e^(−2u); the
// numbers of −2u = x · (kGeluLinear + kGeluCubic x²). Its derivative is s + x · s (1 − s) · 2 du/dx, and 1 − s = e · s.
// C++17: kernels see it too.
#pragma once

namespace smp::models::kernels {

constexpr float kGeluLinear = -1.5957691216057308F;  // −2 √(2/π)
constexpr float kGeluCubic = -1.5957691216057308F * 0.044715F;

}  // namespace smp::models::kernels
