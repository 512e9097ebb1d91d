#include <gmock/gmock.h>

#include "comms/backends/nccl.h"

namespace smp::comms {

TEST(NcclDevice, WithoutItsGpuASentenceSaysWhatIsMissing) {
    const auto bootstrap = local_world(1);
    try {
        const NcclGroups groups(*bootstrap.front(), 99);
        ADD_FAILURE() << "took GPU 99";
    } catch (const CommunicationError& error) {
        EXPECT_THAT(error.what(), testing::AnyOf(testing::HasSubstr("NCCL is to use GPU 99, but CUDA sees "),
                                                 testing::HasSubstr("built without CUDA and NCCL")));
        EXPECT_THAT(error.what(), testing::HasSubstr("cluster.device \"cpu\""));
        EXPECT_FALSE(error.by_peer());
    }
}

}  // namespace smp::comms
