#include "runtime/agreement/data_start.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/agreement/long_work.h"

namespace smp::runtime {

namespace {

/// What a rank's work needs and makes: the thread that does it may outlive the call.
struct Opening {
    explicit Opening(const DataStart& with) : start(with) {}

    void open(const ReportWork& report) {
        TokenCache made({.folder = start.token_folder, .report = report});
        made.learn(known);
        const auto set = [&](DataSplit split) {
            return open_dataset(start.data, split, start.vocabulary, start.sequence_length, start.seed, &made);
        };
        data.train = set(DataSplit::train);
        if (has_validation_data(start.data)) data.validation = set(DataSplit::validation);
        cache.emplace(std::move(made));
    }

    DataStart start;
    std::string known;  // to the first rank of this machine
    OpenedData data;
    std::optional<TokenCache> cache;
};

}  // namespace

OpenedData open_data(comms::Communicator& world, const DataStart& start,
                     const std::function<void(const std::string&)>& tell) {
    const std::vector<int> hosts = hosts_of_ranks(world);
    const auto first = std::find(hosts.begin(), hosts.end(), hosts[world.rank()]) - hosts.begin();
    const bool is_first = first == world.rank();
    const auto opening = std::make_shared<Opening>(start);
    const auto open = [opening](const ReportWork& report) { opening->open(report); };
    const auto nothing = [](const ReportWork&) {};

    if (is_first)
        work_together(world, open, tell);
    else
        work_together(world, nothing, tell);
    const auto known = texts_of_all(world, is_first ? opening->cache->known() : "");
    opening->known = known[first];
    if (is_first)
        work_together(world, nothing, tell);
    else
        work_together(world, open, tell);
    if (is_first) opening->cache->remove_others();  // everybody has what is needed

    std::string warnings;
    if (is_first)
        for (const std::string& sentence : opening->cache->warnings()) warnings += sentence + '\0';
    const auto all = texts_of_all(world, warnings);
    for (int rank = 0; rank < world.size() && world.rank() == 0; ++rank) {
        for (std::size_t at = 0, end = 0; at < all[rank].size(); at = end + 1) {
            end = all[rank].find('\0', at);
            opening->data.warnings.push_back((rank == 0 ? "" : fmt::format("rank {}: ", rank)) +
                                             all[rank].substr(at, end - at));
        }
    }
    return std::move(opening->data);
}

}  // namespace smp::runtime
