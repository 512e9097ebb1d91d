#include "runtime/stage/memory_meter.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <utility>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <fmt/format.h>

#include "runtime/stage/device_allocations.h"
#include "runtime/stage/memory_error.h"

namespace smp::runtime {

namespace {

constexpr const char* kSystemRemedy =
    "look at the memory of the machine and at limits on this process (ulimit -v, a container's), run fewer ranks here, "
    "or see parallel.activation_checkpointing and parallel.shard_optimizer_state";

constexpr auto kOffloaded = static_cast<std::size_t>(partition::MemoryCategory::offloaded);

std::int64_t on_device(const partition::MemoryBytes& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}) - bytes[kOffloaded];
}

}  // namespace

/// Outlives its meter for as long as something that it counts does. Freed from any thread.
class MemoryMeter::Account {
  public:
    explicit Account(std::optional<std::int64_t> limit) : limit_(limit) {}

    void allocate(partition::MemoryCategory category, std::int64_t bytes) {
        const std::lock_guard lock(mutex_);
        const bool counts = category != partition::MemoryCategory::offloaded;
        if (limit_ && counts && on_device(use_.live) + bytes > *limit_) {
            partition::MemoryBytes with = use_.live;
            with[static_cast<std::size_t>(category)] += bytes;
            refuse({bytes, with});
        }
        add(category, bytes);
    }
    /// Of what a device has given already.
    void note(partition::MemoryCategory category, std::int64_t bytes) noexcept {
        const std::lock_guard lock(mutex_);
        add(category, bytes);
        if (limit_ && on_device(use_.live) > *limit_ && !excess_) excess_ = {bytes, use_.live};
    }
    /// After allocate(): the system has not so much. Throws what to say of it.
    [[noreturn]] void give_up(partition::MemoryCategory category, std::int64_t bytes) {
        const std::lock_guard lock(mutex_);
        live(category) -= bytes;
        throw MemoryError(fmt::format("out of memory{}: the system refuses {} more for {}; this rank holds {}; {}",
                                      during(), partition::shown_bytes(bytes), word_of(category), listed(use_.live),
                                      kSystemRemedy));
    }
    void free(partition::MemoryCategory category, std::int64_t bytes) {
        const std::lock_guard lock(mutex_);
        live(category) -= bytes;
    }
    void move(partition::MemoryCategory from, partition::MemoryCategory to, std::int64_t bytes) {
        const std::lock_guard lock(mutex_);
        live(from) -= bytes;
        add(to, bytes);
    }
    partition::MemoryUse use() const {
        const std::lock_guard lock(mutex_);
        return use_;
    }
    void reset_peaks() {
        const std::lock_guard lock(mutex_);
        use_.peak = at_reset_ = use_.live;
        use_.device_peak = on_device(use_.live);
    }
    void set_action(const partition::Action* action) {
        const std::lock_guard lock(mutex_);
        if (const auto excess = std::exchange(excess_, std::nullopt)) refuse(*excess);
        action_ = action;
    }
    [[noreturn]] void device_refuses() const {
        const std::lock_guard lock(mutex_);
        throw MemoryError(fmt::format("out of memory{}: {}; this rank holds {}; {}", during(), kDeviceRefuses,
                                      listed(use_.live), kDeviceRemedy));
    }
    std::string doing() const {
        const std::lock_guard lock(mutex_);
        return action_ != nullptr ? partition::name_of(*action_) : "";
    }

  private:
    std::string during() const {
        return action_ != nullptr ? " in " + partition::name_of(*action_) : " before or between steps";
    }
    static std::string listed(const partition::MemoryBytes& bytes) {
        const auto& words = partition::Words<partition::MemoryCategory>::list;
        std::string all;
        for (std::size_t c = 0; c < bytes.size(); ++c)
            if (bytes[c] > 0)
                all += fmt::format("{}{} {}", all.empty() ? "" : ", ", words[c], partition::shown_bytes(bytes[c]));
        return all.empty() ? "nothing" : all;
    }
    std::int64_t& live(partition::MemoryCategory category) { return use_.live[static_cast<std::size_t>(category)]; }
    void add(partition::MemoryCategory category, std::int64_t bytes) {
        live(category) += bytes;
        std::int64_t& peak = use_.peak[static_cast<std::size_t>(category)];
        peak = std::max(peak, live(category));
        use_.device_peak = std::max(use_.device_peak, on_device(use_.live));
    }
    /// An allocation beyond the limit, and what would be live, or is, with it.
    struct Excess {
        std::int64_t bytes = 0;
        partition::MemoryBytes with = {};
    };

    [[noreturn]] void refuse(const Excess& excess) const {
        const auto& words = partition::Words<partition::MemoryCategory>::list;
        const partition::MemoryBytes& with = excess.with;
        std::size_t grown = 0;
        for (std::size_t c = 0; c < with.size(); ++c)
            if (c != kOffloaded && with[c] - at_reset_[c] > with[grown] - at_reset_[grown]) grown = c;
        partition::MemoryBytes counted = with;
        counted[kOffloaded] = 0;
        throw MemoryError(fmt::format(
            "out of memory{}: {} more make {}, and cluster.memory_limit_gib allows {}; {} grew most, by {} ({}); "
            "raise the limit, lower parallel.active_microbatches or the batch, or see "
            "parallel.activation_checkpointing and "
            "parallel.shard_optimizer_state",
            during(), partition::shown_bytes(excess.bytes), partition::shown_bytes(on_device(with)),
            partition::shown_bytes(*limit_), words[grown], partition::shown_bytes(with[grown] - at_reset_[grown]),
            listed(counted)));
    }

    mutable std::mutex mutex_;
    const std::optional<std::int64_t> limit_;
    partition::MemoryUse use_;
    partition::MemoryBytes at_reset_ = {};
    const partition::Action* action_ = nullptr;
    std::optional<Excess> excess_;  // the first on a device that went beyond the limit
};

namespace {

struct Current {
    std::shared_ptr<MemoryMeter::Account> account;
    partition::MemoryCategory category = partition::MemoryCategory::other;
};

Current& current() {
    thread_local Current of_thread;
    return of_thread;
}

/// What LibTorch keeps with a piece of memory that is counted.
struct Record {
    std::shared_ptr<MemoryMeter::Account> account;
    partition::MemoryCategory category;
    std::int64_t bytes;
    at::DataPtr memory;

    static void destroy(void* context) {
        const std::unique_ptr<Record> record(static_cast<Record*>(context));
        record->memory.clear();
        record->account->free(record->category, record->bytes);
    }
};

class CountingAllocator final : public c10::Allocator {
  public:
    explicit CountingAllocator(c10::Allocator& beneath) : beneath_(beneath) {}

    at::DataPtr allocate(std::size_t size) override {
        const auto& [account, category] = current();
        const auto bytes = static_cast<std::int64_t>(size);
        if (!account) {
            try {
                return beneath_.allocate(size);
            } catch (const std::exception&) {  // its text is of LibTorch's lines
                throw MemoryError(fmt::format("out of memory: the system refuses {}; {}", partition::shown_bytes(bytes),
                                              kSystemRemedy));
            }
        }
        account->allocate(category, bytes);
        at::DataPtr memory;
        try {
            memory = beneath_.allocate(size);
        } catch (const std::exception&) {
            account->give_up(category, bytes);
        }
        void* const data = memory.get();
        const at::Device device = memory.device();
        auto record = std::make_unique<Record>(Record{account, category, bytes, std::move(memory)});
        return {data, record.release(), &Record::destroy, device};
    }
    void copy_data(void* destination, const void* source, std::size_t count) const override {
        default_copy_data(destination, source, count);
    }

  private:
    c10::Allocator& beneath_;
};

/// What lies on CUDA devices, by address.
class OnDevices {
  public:
    struct Entry {
        std::shared_ptr<MemoryMeter::Account> account;
        partition::MemoryCategory category;
        std::int64_t bytes;
    };

    static OnDevices& all() {
        static auto* const of_process = new OnDevices;  // allocators outlive what is destroyed at the end
        return *of_process;
    }
    void given(std::size_t address, std::int64_t bytes) noexcept {
        const auto& [account, category] = current();
        if (!account) return;
        {
            const std::lock_guard lock(mutex_);
            entries_.insert_or_assign(address, Entry{account, category, bytes});
        }
        account->note(category, bytes);
    }
    void taken(std::size_t address) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(address);
        if (found == entries_.end()) return;
        found->second.account->free(found->second.category, found->second.bytes);
        entries_.erase(found);
    }
    /// To `category`, where it is `account`'s and of category `only`, if that is given.
    void move(const at::Tensor& tensor, const std::shared_ptr<MemoryMeter::Account>& account,
              partition::MemoryCategory category, std::optional<partition::MemoryCategory> only) {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(reinterpret_cast<std::size_t>(tensor.storage().data_ptr().get()));
        if (found == entries_.end() || found->second.account != account) return;
        Entry& entry = found->second;
        if (only && entry.category != *only) return;
        account->move(entry.category, category, entry.bytes);
        entry.category = category;
    }

  private:
    std::mutex mutex_;
    std::unordered_map<std::size_t, Entry> entries_;
};

void count_allocations() {
    static std::once_flag once;
    std::call_once(once, [] {
        static CountingAllocator counting(*c10::GetCPUAllocator());
        c10::SetCPUAllocator(&counting, /*priority=*/1);
    });
}

Record* record_of(const at::Tensor& tensor) {
    if (!tensor.defined()) return nullptr;
    const at::DataPtr& memory = tensor.storage().data_ptr();
    return memory.get_deleter() == &Record::destroy ? static_cast<Record*>(memory.get_context()) : nullptr;
}

}  // namespace

struct MemoryMeter::Scope::Previous {
    Current current;
};

MemoryMeter::Scope::Scope(const MemoryMeter& meter, partition::MemoryCategory category)
    : previous_(std::make_unique<Previous>(Previous{current()})) {
    current() = {meter.account_, category};
}

MemoryMeter::Scope::~Scope() { current() = std::move(previous_->current); }

MemoryMeter::MemoryMeter(std::optional<std::int64_t> limit_bytes) : account_(std::make_shared<Account>(limit_bytes)) {
    count_allocations();
}

void MemoryMeter::move(const at::Tensor& tensor, partition::MemoryCategory category) {
    if (tensor.defined() && tensor.is_cuda()) return OnDevices::all().move(tensor, account_, category, std::nullopt);
    Record* const record = record_of(tensor);
    if (record == nullptr || record->account != account_) return;
    account_->move(record->category, category, record->bytes);
    record->category = category;
}

void MemoryMeter::settle(const at::Tensor& tensor, partition::MemoryCategory category) {
    constexpr auto kOther = partition::MemoryCategory::other;
    if (tensor.defined() && tensor.is_cuda()) return OnDevices::all().move(tensor, account_, category, kOther);
    const Record* const record = record_of(tensor);
    if (record != nullptr && record->category == kOther) move(tensor, category);
}

void MemoryMeter::count_device_allocations() {
    watch_device_allocations(
        [](std::size_t address, std::int64_t bytes) noexcept { OnDevices::all().given(address, bytes); },
        [](std::size_t address) noexcept { OnDevices::all().taken(address); });
}

void MemoryMeter::count(partition::MemoryCategory category, std::int64_t bytes) { account_->allocate(category, bytes); }
void MemoryMeter::device_refuses() const { account_->device_refuses(); }

partition::MemoryUse MemoryMeter::use() const { return account_->use(); }
void MemoryMeter::reset_peaks() { account_->reset_peaks(); }
std::string MemoryMeter::doing() const { return account_->doing(); }
void MemoryMeter::set_action(const partition::Action* action) { account_->set_action(action); }

}  // namespace smp::runtime
