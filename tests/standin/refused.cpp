// What is not there, by name: calls that LibTorch links and the rest of NCCL, so that none of them reaches the real
// libraries behind. Their parameters do not matter, since nobody looks at them.
#include <cstdio>

namespace smp::standin {
int refuse_cuda(const char* name);
int refuse_nccl_call(const char* name);
}  // namespace smp::standin

#define SMP_NO_CUDA(name) \
    extern "C" int name() { return smp::standin::refuse_cuda(#name); }
#define SMP_NO_NCCL(name) \
    extern "C" int name() { return smp::standin::refuse_nccl_call(#name); }
#define SMP_NO_DRIVER(name)                                              \
    extern "C" int name() {                                              \
        std::fprintf(stderr, "[CUDA stand-in] there is no " #name "\n"); \
        return 801; /* CUDA_ERROR_NOT_SUPPORTED */                       \
    }

SMP_NO_CUDA(cudaDeviceGetDefaultMemPool)
SMP_NO_CUDA(cudaFreeAsync)
SMP_NO_CUDA(cudaGetSymbolAddress)
SMP_NO_CUDA(cudaGraphDebugDotPrint)
SMP_NO_CUDA(cudaGraphDestroy)
SMP_NO_CUDA(cudaGraphExecDestroy)
SMP_NO_CUDA(cudaGraphGetNodes)
SMP_NO_CUDA(cudaGraphInstantiateWithFlags)
SMP_NO_CUDA(cudaGraphLaunch)
SMP_NO_CUDA(cudaGraphNodeGetDependencies)
SMP_NO_CUDA(cudaIpcCloseMemHandle)
SMP_NO_CUDA(cudaIpcGetEventHandle)
SMP_NO_CUDA(cudaIpcGetMemHandle)
SMP_NO_CUDA(cudaIpcOpenEventHandle)
SMP_NO_CUDA(cudaIpcOpenMemHandle)
SMP_NO_CUDA(cudaMallocAsync)
SMP_NO_CUDA(cudaMallocManaged)
SMP_NO_CUDA(cudaMemPoolGetAttribute)
SMP_NO_CUDA(cudaMemPoolSetAccess)
SMP_NO_CUDA(cudaMemPoolSetAttribute)
SMP_NO_CUDA(cudaMemPoolTrimTo)
SMP_NO_CUDA(cudaMemcpyToSymbol)
SMP_NO_CUDA(cudaStreamAddCallback)
SMP_NO_CUDA(cudaStreamBeginCapture)
SMP_NO_CUDA(cudaStreamEndCapture)

SMP_NO_NCCL(ncclBcast)
SMP_NO_NCCL(ncclCommCuDevice)
SMP_NO_NCCL(ncclCommDeregister)
SMP_NO_NCCL(ncclCommInitAll)
SMP_NO_NCCL(ncclCommInitRank)
SMP_NO_NCCL(ncclCommInitRankScalable)
SMP_NO_NCCL(ncclCommRegister)
SMP_NO_NCCL(ncclCommRevoke)
SMP_NO_NCCL(ncclCommShrink)
SMP_NO_NCCL(ncclCommWindowDeregister)
SMP_NO_NCCL(ncclCommWindowRegister)
SMP_NO_NCCL(ncclDevCommCreate)
SMP_NO_NCCL(ncclDevCommDestroy)
SMP_NO_NCCL(ncclGather)
SMP_NO_NCCL(ncclGinBarrierCreateRequirement)
SMP_NO_NCCL(ncclGroupSimulateEnd)
SMP_NO_NCCL(ncclLLA2ACalcSlots)
SMP_NO_NCCL(ncclLLA2ACreateRequirement)
SMP_NO_NCCL(ncclLsaBarrierCreateRequirement)
SMP_NO_NCCL(ncclMemAlloc)
SMP_NO_NCCL(ncclMemFree)
SMP_NO_NCCL(ncclRedOpCreatePreMulSum)
SMP_NO_NCCL(ncclRedOpDestroy)
SMP_NO_NCCL(ncclReduce)
SMP_NO_NCCL(ncclResetDebugInit)
SMP_NO_NCCL(ncclResetDebugInitInternal)
SMP_NO_NCCL(ncclScatter)
SMP_NO_NCCL(ncclTeamLsa)
SMP_NO_NCCL(ncclTeamRail)
SMP_NO_NCCL(ncclTeamRankToLsa)
SMP_NO_NCCL(ncclTeamRankToWorld)
SMP_NO_NCCL(ncclTeamWorld)

SMP_NO_DRIVER(cuCtxSetCurrent)
SMP_NO_DRIVER(cuDeviceGet)
SMP_NO_DRIVER(cuDeviceGetAttribute)
SMP_NO_DRIVER(cuDevicePrimaryCtxRetain)
SMP_NO_DRIVER(cuFuncGetAttribute)
SMP_NO_DRIVER(cuFuncSetAttribute)
SMP_NO_DRIVER(cuFuncSetCacheConfig)
SMP_NO_DRIVER(cuLaunchCooperativeKernel)
SMP_NO_DRIVER(cuLaunchKernel)
SMP_NO_DRIVER(cuLinkAddData_v2)
SMP_NO_DRIVER(cuLinkComplete)
SMP_NO_DRIVER(cuLinkCreate_v2)
SMP_NO_DRIVER(cuModuleGetFunction)
SMP_NO_DRIVER(cuModuleLoad)
SMP_NO_DRIVER(cuModuleLoadData)
SMP_NO_DRIVER(cuModuleLoadDataEx)
SMP_NO_DRIVER(cuModuleUnload)
SMP_NO_DRIVER(cuOccupancyMaxActiveBlocksPerMultiprocessor)
SMP_NO_DRIVER(cuPointerGetAttribute)
SMP_NO_DRIVER(cuTensorMapEncodeTiled)
