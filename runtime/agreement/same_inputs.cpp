#include "runtime/agreement/same_inputs.h"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/files/sum128.h"

namespace smp::runtime {

namespace {

constexpr std::int64_t kSummedTokens = std::int64_t{1} << 22;

/// For each file a line: what must be the same, a tab, its path.
std::string contents_of(const Dataset& data) {
    std::vector<Sum128> sums(data.files().size());
    const std::int64_t length = data.sequence_length(), samples = data.samples();
    const std::int64_t summed = std::min(samples, std::max<std::int64_t>(1, kSummedTokens / length));
    std::vector<std::int64_t> inputs(length), targets(length);
    for (std::int64_t i = 0; i < summed; ++i) {
        const std::int64_t position = i * samples / summed;
        data.read(position, 1, inputs, targets);
        Sum128& sum = sums[data.place(position).file];
        sum.update(std::as_bytes(std::span(inputs)));
        sum.update(std::as_bytes(std::span(targets)));
    }
    std::string text;
    for (std::size_t file = 0; file < sums.size(); ++file)
        text += fmt::format("{} with {} tokens (sum {})\t{}\n", data.role(), data.files()[file].tokens(),
                            sums[file].take(), data.files()[file].path().string());
    return text;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

/// "data.train with 5 tokens (sum 0a)", "/data/train.bin".
std::pair<std::string, std::string> parts_of(const std::vector<std::string>& lines, std::size_t index) {
    if (index >= lines.size()) return {"no such file", ""};
    const auto tab = lines[index].find('\t');
    return {lines[index].substr(0, tab), lines[index].substr(tab + 1)};
}

std::string sum_of(const at::Tensor& values) {
    const at::Tensor here = values.contiguous().cpu();
    return sum128({static_cast<const std::byte*>(here.const_data_ptr()), here.nbytes()});
}

}  // namespace

void require_same_program(comms::Communicator& world, const std::string& version) {
    const auto versions = texts_of_all(world, version), hosts = host_names(world);
    for (int rank = 1; rank < world.size(); ++rank) {
        if (versions[rank] == versions[0]) continue;
        throw_agreed(fmt::format("rank {} (host {}) runs another build of the program than rank 0 (host {}): {} there, "
                                 "and {} on rank 0; install the same one on every node",
                                 rank, hosts[rank], hosts[0], versions[rank], versions[0]),
                     2, rank);
    }
}

void require_same_data(comms::Communicator& world, const std::vector<const Dataset*>& data) {
    std::string own;
    fail_together(world, [&] {
        for (const Dataset* each : data) own += contents_of(*each);
    });
    const auto texts = texts_of_all(world, own);
    const auto expected = lines_of(texts.front());
    for (int rank = 1; rank < world.size(); ++rank) {
        const auto found = lines_of(texts[rank]);
        for (std::size_t file = 0; file < std::max(expected.size(), found.size()); ++file) {
            const auto [first, first_path] = parts_of(expected, file);
            const auto [other, other_path] = parts_of(found, file);
            if (first == other) continue;
            throw_agreed(
                fmt::format("rank {} has other data than rank 0: \"{}\" is {} there, and \"{}\" is {} on rank 0; "
                            "give every node the same files",
                            rank, other_path, other, first_path, first),
                3, rank);
        }
    }
}

void require_same_values(comms::Communicator& world, const partition::Coordinate& at, const Stage& stage,
                         const std::vector<partition::SharedParameter>& tied) {
    // Lines "what=sum": equal where equal values are meant.
    std::string own = fmt::format("the values of pp {}, tp {}={}\n", at.pp, at.tp, sum_of(stage.flat_values()));
    for (std::size_t i = 0; i < stage.parameters().size(); ++i) {
        const models::Parameter& parameter = stage.parameters()[i];
        for (const partition::SharedParameter& shared : tied)
            if (shared.name == parameter.name || shared.name == parameter.tied_to)
                own += fmt::format("{} of tp {}={}\n", shared.name, at.tp, sum_of(stage.value(static_cast<int>(i))));
    }
    const auto texts = texts_of_all(world, own);
    std::map<std::string, std::pair<int, std::string>> known;  // by what: the first rank and its sum
    for (int rank = 0; rank < world.size(); ++rank) {
        for (const std::string& line : lines_of(texts[rank])) {
            const auto equals = line.rfind('=');
            const auto [first, is_new] = known.try_emplace(line.substr(0, equals), rank, line.substr(equals + 1));
            if (is_new || first->second.second == line.substr(equals + 1)) continue;
            throw_agreed(
                fmt::format("rank {} begins with other values than rank {}: {}; training.initial_weights must be "
                            "the same file on every node, and smp the same program",
                            rank, first->second.first, first->first),
                3, rank);
        }
    }
}

}  // namespace smp::runtime
