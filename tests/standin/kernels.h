// What the start of a kernel does beside its work.
#pragma once

namespace smp::standin {

/// The current device has the kernel from now on. Where it has not had it, waits first for all that the device does, as
/// CUDA may where a kernel is started first.
void load_kernel(const char* name);
/// No device has any.
void unload_kernels();

}  // namespace smp::standin
