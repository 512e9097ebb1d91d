// What tests over the stand-in have in common.
#pragma once

#include <gtest/gtest.h>

#include "tests/seed.h"
#include "tests/standin/control.h"

namespace smp::standin {

/// Skipped where the stand-in is not preloaded (ctest does it); tasks of streams begin late, and what a test has
/// planted is taken back after it.
template <class Base = ::testing::Test>
class OverStandIn : public Base {
  protected:
    void SetUp() override {
        if (control() == nullptr) GTEST_SKIP() << "runs with the stand-in preloaded, as by ctest -R standin";
        control()->delay(smp::testing::seed(), 200);
    }
    void TearDown() override {
        if (control() != nullptr) control()->take_back();
    }
};

}  // namespace smp::standin
