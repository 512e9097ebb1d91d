// Our CUDA kernels on the host as tasks of the stand-in's streams (tests/standin).
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/cuda_on_host/cuda_on_host.h"
#include "tests/standin/over_standin.h"

extern "C" int cudaLaunchHostFunc(void* stream, void (*task)(void*), void* argument);  // the stand-in's

namespace smp::standin {

inline void queue_kernel(void* stream, std::function<void()> task) {
    const auto run = [](void* argument) {
        const std::unique_ptr<std::function<void()>> own(static_cast<std::function<void()>*>(argument));
        (*own)();
    };
    if (cudaLaunchHostFunc(stream, run, new std::function<void()>(std::move(task))) != 0)
        throw std::runtime_error("the stand-in takes no task");
}

template <class Base = ::testing::Test>
class QueuedKernels : public OverStandIn<Base> {
  protected:
    void SetUp() override {
        OverStandIn<Base>::SetUp();
        if (Base::IsSkipped()) return;
        smp::testing::cuda_on_host::set_queue(queue_kernel);
        control()->unload_kernels();
        smp::testing::cuda_on_host::set_loader(
            [](const std::string& kernel) { control()->load_kernel(kernel.c_str()); });
    }
    void TearDown() override {
        OverStandIn<Base>::TearDown();
        smp::testing::cuda_on_host::set_queue(nullptr);
        smp::testing::cuda_on_host::set_loader(nullptr);
    }
};

}  // namespace smp::standin
