// The data of a training, opened by all ranks; what takes long is done once a machine.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comms/communicator.h"
#include "runtime/data/dataset.h"
#include "runtime/job/options.h"

namespace smp::runtime {

struct OpenedData {
    std::optional<Dataset> train, validation;
    /// What the first rank of each machine says of the tokens that it has made (TokenCache::warnings), on rank 0.
    std::vector<std::string> warnings;
};

struct DataStart {
    DataOptions data;
    std::int64_t vocabulary = 0;
    std::int64_t sequence_length = 0;
    std::uint64_t seed = 0;
    std::filesystem::path token_folder;  // of TokenCache::Settings
};

/// The lowest rank of each machine (host name) opens the data first, and with that tokenises plain text, unless its
/// tokens are kept in the folder; the others then map the tokens that it has. Removes from the folder what this job
/// does not need. Throws what open_dataset() does, agreed; `tell` as work_together() does. Collective.
OpenedData open_data(comms::Communicator& world, const DataStart& start,
                     const std::function<void(const std::string&)>& tell);

}  // namespace smp::runtime
