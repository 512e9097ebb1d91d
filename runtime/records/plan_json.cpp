#include "runtime/records/plan_json.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "partition/plan/lifetimes.h"
#include "runtime/files/data_error.h"
#include "runtime/records/fields_from_json.h"

namespace smp::runtime {

namespace {

using partition::Buffer;
using partition::Lifetime;
using partition::ModuleGraph;
using partition::Plan;
using partition::RankProgram;

constexpr int kVersion = 2;

std::string hash_text(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

/// Adds to each buffer that is freed when it is there.
class LifetimeNotes : public NoNotes {
  public:
    using NoNotes::begin;
    using NoNotes::end;
    void begin(const RankProgram& program) {
        lifetimes_ = partition::lifetimes_of(program);
        next_ = partition::BufferId(0);
    }
    template <typename Member>
    void end(const Buffer&, const Member& member) {
        const Lifetime& lifetime = lifetimes_[next_];
        ++next_;
        if (lifetime.last != partition::kNone) member("lifetime", std::array{lifetime.first, lifetime.last});
    }

  private:
    partition::Table<partition::BufferId, Lifetime> lifetimes_;
    partition::BufferId next_ = {};
};

/// A file while it is read.
struct Document {
    SavedPlan saved;
    int version = 0;
    std::string hash, model_hash;
    std::vector<std::array<int, 2>> lifetimes;  // of the buffers of the program that is being read
};

constexpr std::array<int, 2> kThroughout = {-1, -1}, kUnsaid = {-2, -2};

JsonForm hash_form() {
    JsonForm form;
    form.expected = "a hash of 16 hexadecimal digits";
    form.text = [](void* value, const std::string& text) {
        if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
        *static_cast<std::string*>(value) = text;
        return true;
    };
    return form;
}

JsonForm version_form() {
    JsonForm form;
    form.expected = fmt::format(
        "{}, the version of plan files that this program reads; a higher one was written by a newer smp, a lower one "
        "holds too little: make the plan again",
        kVersion);
    form.integer = [](void* value, std::int64_t version) {
        *static_cast<int*>(value) = static_cast<int>(version);
        return version == kVersion;
    };
    return form;
}

/// Buffers may have a lifetime beside what their table says, which must be what the program's actions make it.
void describe_lifetimes(JsonForms& forms, Document& document) {
    JsonForm& buffer = forms.of<Buffer>();
    buffer.begin = [&](void*, const JsonPlace&) { document.lifetimes.push_back(kUnsaid); };
    buffer.members.push_back({.name = "lifetime",
                              .form = &forms.of<std::array<int, 2>>(),
                              .in = [&](void*) -> void* { return &document.lifetimes.back(); },
                              .required = false});
    buffer.expected += ", lifetime";
    JsonForm& program = forms.of<RankProgram>();
    program.begin = [&](void*, const JsonPlace&) { document.lifetimes.clear(); };
    program.end = [&](void* value, const JsonPlace& place) {
        const auto lifetimes = partition::lifetimes_of(*static_cast<RankProgram*>(value));
        for (const partition::BufferId i : lifetimes.ids()) {
            const std::array<int, 2> made = {lifetimes[i].first.number(), lifetimes[i].last.number()};
            const std::array<int, 2>& stated = document.lifetimes[i.index()];
            if (stated == kUnsaid || stated == made) continue;
            const auto shown = [](const std::array<int, 2>& lifetime) {
                return lifetime == kThroughout ? "none" : fmt::format("[{}, {}]", lifetime[0], lifetime[1]);
            };
            place.refuse(
                fmt::format("buffers[{}] has the lifetime {}; its actions make it {}", i, shown(stated), shown(made)));
        }
    };
}

const JsonForm& document_form(JsonForms& forms, Document& document) {
    describe_lifetimes(forms, document);
    const JsonForm& hash = forms.add(hash_form());
    JsonForm& model = forms.of<ModuleGraph>();
    model.members.push_back({"hash", &hash, [&](void*) -> void* { return &document.model_hash; }, true});
    JsonForm whole = forms.of<Plan>();  // behind the pointer is the plan
    whole.members.push_back(
        {"version", &forms.add(version_form()), [&](void*) -> void* { return &document.version; }, true});
    whole.members.push_back({"hash", &hash, [&](void*) -> void* { return &document.hash; }, true});
    whole.members.push_back({"model", &model, [&](void*) -> void* { return &document.saved.graph; }, true});
    whole.expected = "a plan, as smp_train leaves it in plan.json: " + whole.expected + ", version, hash, model";
    return forms.add(std::move(whole));
}

void require_hash(const std::string& origin, const char* what, const std::string& stated, std::uint64_t hash) {
    if (stated == hash_text(hash)) return;
    throw DataError(
        fmt::format("{}: the hash of {} is {}, but the file says {}: it is damaged, or was changed after it was "
                    "written; take the file as it was, or make the plan again",
                    origin, what, hash_text(hash), stated));
}

}  // namespace

void write_plan(const Plan& plan, const ModuleGraph& graph, const TextSink& write, PlanPart part, int depth) {
    FieldsToJson json(write, depth, LifetimeNotes());
    json.object([&](const auto& member) {
        member("version", kVersion);
        member("hash", hash_text(partition::hash_of(plan)));
        json.members_of(plan, [&](std::string_view name, const auto& value) {
            if constexpr (std::is_same_v<decltype(value), const decltype(Plan::training)&>)
                if (part == PlanPart::head) return;
            member(name, value);
        });
        if (part == PlanPart::head) return;
        member("model", [&] {
            json.object([&](const auto& of_model) {
                of_model("hash", hash_text(partition::hash_of(graph)));
                json.members_of(graph, of_model);
            });
        });
    });
    json.flush();
}

std::string plan_to_json(const Plan& plan, const ModuleGraph& graph) {
    std::string text;
    write_plan(plan, graph, [&](std::string_view piece) { text += piece; });
    return text + '\n';
}

SavedPlan plan_from_json(std::istream& text, const std::string& origin) {
    Document document;
    JsonForms forms;
    read_json(text, origin, document_form(forms, document), &document.saved.plan);
    require_hash(origin, "the plan", document.hash, partition::hash_of(document.saved.plan));
    require_hash(origin, "the model", document.model_hash, partition::hash_of(document.saved.graph));
    return std::move(document.saved);
}

SavedPlan read_plan(const std::filesystem::path& file) {
    std::error_code error;
    const bool is_folder = std::filesystem::is_directory(file, error);
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    if (is_folder || !stream)
        throw DataError(fmt::format("{}: cannot be read: {}; name a plan.json that smp_train has left", file.string(),
                                    std::strerror(is_folder    ? EISDIR
                                                  : errno != 0 ? errno
                                                               : EIO)));
    return plan_from_json(stream, file.string());
}

}  // namespace smp::runtime
