#include "runtime/agreement/agreement.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "partition/job/problem.h"
#include "runtime/checkpoint/checkpoint_error.h"
#include "runtime/files/data_error.h"
#include "runtime/stage/memory_error.h"

namespace smp::runtime {

namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

std::string difference(const std::string& reference, const std::string& other) {
    const auto expected = lines_of(reference), found = lines_of(other);
    for (std::size_t i = 0; i < std::max(expected.size(), found.size()); ++i) {
        const std::string left = i < expected.size() ? expected[i] : "(nothing)",
                          right = i < found.size() ? found[i] : "(nothing)";
        if (left == right) continue;
        const std::string key = left.substr(0, left.find('='));
        if (key != right.substr(0, right.find('='))) return fmt::format("{} instead of {}", right, left);
        return fmt::format("{} is {} there and {} on rank 0", key, right.substr(key.size() + 1),
                           left.substr(key.size() + 1));
    }
    return "nothing";
}

// Memory that ran out, of those who do not say it as a MemoryError.
bool is_out_of_memory(const std::exception& error) { return dynamic_cast<const std::bad_alloc*>(&error) != nullptr; }
bool is_out_of_device_memory(const std::exception& error) {
    return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr;
}

template <class Error>
class Agreed final : public Error, public AgreedFailure {
  public:
    Agreed(Error error, AgreedFailure failure) : Error(std::move(error)), AgreedFailure(std::move(failure)) {}
};

}  // namespace

std::vector<std::string> texts_of_all(comms::Communicator& world, const std::string& text) {
    const at::Tensor length = at::zeros({1}, at::kLong);
    length.data_ptr<std::int64_t>()[0] = static_cast<std::int64_t>(text.size());
    const at::Tensor lengths = at::empty({world.size()}, at::kLong);
    world.all_gather(lengths, length).wait();
    const auto* sizes = lengths.const_data_ptr<std::int64_t>();
    const std::int64_t longest = *std::max_element(sizes, sizes + world.size());
    std::vector<std::string> texts(world.size());
    if (longest == 0) return texts;

    const at::Tensor own = at::zeros({longest}, at::kByte);
    std::memcpy(own.data_ptr<std::uint8_t>(), text.data(), text.size());
    const at::Tensor all = at::empty({world.size() * longest}, at::kByte);
    world.all_gather(all, own).wait();
    for (int rank = 0; rank < world.size(); ++rank)
        texts[rank].assign(reinterpret_cast<const char*>(all.const_data_ptr<std::uint8_t>()) + rank * longest,
                           sizes[rank]);
    return texts;
}

std::string text_of_first(comms::Communicator& world, const std::string& text) {
    return texts_of_all(world, world.rank() == 0 ? text : "").front();
}

AgreedFailure::AgreedFailure(std::string message, int exit_code, int rank)
    : message_(std::move(message)), exit_code_(exit_code), rank_(rank) {}

int exit_code_of(const std::exception& error) {
    if (const auto* agreed = dynamic_cast<const AgreedFailure*>(&error)) return agreed->exit_code();
    if (dynamic_cast<const partition::ConfigError*>(&error) != nullptr) return 2;
    if (dynamic_cast<const DataError*>(&error) != nullptr) return 3;
    if (dynamic_cast<const comms::CommunicationError*>(&error) != nullptr) return 4;
    if (dynamic_cast<const MemoryError*>(&error) != nullptr || is_out_of_memory(error) ||
        is_out_of_device_memory(error))
        return 5;
    if (dynamic_cast<const CheckpointError*>(&error) != nullptr) return 6;
    return 1;
}

std::string sentence_of(const std::exception& error) {
    if (is_out_of_memory(error))
        return "out of memory: the system refuses more; look at the memory of the machine and at limits on this "
               "process "
               "(ulimit -v, a container's), or run fewer ranks here";
    if (is_out_of_device_memory(error)) return fmt::format("out of memory: {}; {}", kDeviceRefuses, kDeviceRemedy);
    if (const auto* of_torch = dynamic_cast<const c10::Error*>(&error)) return of_torch->what_without_backtrace();
    return error.what();
}

void throw_agreed(const std::string& message, int exit_code, int rank) {
    const AgreedFailure failure(message, exit_code, rank);
    switch (exit_code) {
        case 2: throw Agreed(partition::ConfigError(partition::Problem{.key = "", .message = message}), failure);
        case 3: throw Agreed(DataError(message), failure);
        case 5: throw Agreed(MemoryError(message), failure);
        case 6: throw Agreed(CheckpointError(message), failure);
        default: throw Agreed(std::logic_error(message), failure);
    }
}

void fail_together(comms::Communicator& world, const std::function<void()>& local) {
    std::string verdict;  // "<exit code> <message>", empty where all is well
    std::vector<partition::Problem> problems;
    try {
        local();
    } catch (const comms::CommunicationError&) {
        throw;
    } catch (const std::exception& error) {
        verdict = fmt::format("{} {}", exit_code_of(error), sentence_of(error));
        if (const auto* config = dynamic_cast<const partition::ConfigError*>(&error)) problems = config->problems();
    }
    const auto verdicts = texts_of_all(world, verdict);
    for (int rank = 0; rank < world.size(); ++rank) {
        if (verdicts[rank].empty()) continue;
        const int code = verdicts[rank].front() - '0';
        const std::string message = verdicts[rank].substr(2);
        // A rank that found the same keeps its problems one by one.
        if (verdict == verdicts[rank] && !problems.empty())
            throw Agreed(partition::ConfigError(std::move(problems)), AgreedFailure(message, code, rank));
        throw_agreed(message, code, rank);
    }
}

void require_equal_text(comms::Communicator& world, const std::string& text) {
    const auto texts = texts_of_all(world, text);
    for (int rank = 1; rank < world.size(); ++rank)
        if (texts[rank] != texts[0])
            throw_agreed(fmt::format("rank {} runs another configuration than rank 0: {}; start every rank with the "
                                     "same program, configuration and --set",
                                     rank, difference(texts[0], texts[rank])),
                         2, rank);
}

}  // namespace smp::runtime
