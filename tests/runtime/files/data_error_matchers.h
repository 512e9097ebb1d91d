// What a refused input must say.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/files/data_error.h"

namespace smp::testing {

/// The message of the DataError that `action` must throw: one sentence, in one line, that contains all `parts`.
inline void expect_data_error(const std::function<void()>& action, const std::vector<std::string>& parts) {
    try {
        action();
    } catch (const runtime::DataError& error) {
        const std::string message = error.what();
        for (const std::string& part : parts) EXPECT_THAT(message, ::testing::HasSubstr(part));
        EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
        EXPECT_THAT(message, ::testing::EndsWith("."));
        return;
    }
    ADD_FAILURE() << "nothing was refused";
}

}  // namespace smp::testing
