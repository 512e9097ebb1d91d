#include "runtime/files/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime::safetensors {
namespace {

using Json = nlohmann::json;

/// Hands the members of a JSON object over one by one, each read on its own: nlohmann's callback takes time that grows
/// with the square of their number. No object may have a key twice (nlohmann would keep the last), and nothing may nest
/// deeper than a header does.
class MemberReader final : public Json::json_sax_t {
  public:
    MemberReader(std::string file, Member member) : file_(std::move(file)), member_(std::move(member)) {}

    bool is_object() const { return is_object_; }
    std::size_t error_position() const { return error_position_; }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override {
        if (is_object_) return open(Json::object());
        return is_object_ = true;
    }
    bool start_array(std::size_t) override { return is_object_ && open(Json::array()); }
    bool end_object() override { return open_.empty() || close(); }
    bool end_array() override { return close(); }
    bool key(string_t& value) override {
        const bool is_new = open_.empty() ? names_.insert(value).second : !open_.back()->contains(value);
        if (!is_new) {
            throw DataError(
                fmt::format("\"{}\" names {} twice in its header; write the file again.", file_, shown(Json(value))));
        }
        (open_.empty() ? name_ : key_) = std::move(value);
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        error_position_ = position;
        return false;
    }

  private:
    static constexpr std::size_t kDeepest = 8;

    bool add(Json value) {
        if (!is_object_) return false;
        if (open_.empty()) {
            member_(name_, value);
        } else {
            insert(std::move(value));
        }
        return true;
    }
    Json* insert(Json value) {
        Json& parent = *open_.back();
        if (!parent.is_array()) return &(parent[key_] = std::move(value));
        parent.push_back(std::move(value));
        return &parent.back();
    }
    bool open(Json value) {
        if (open_.size() == kDeepest) {
            throw DataError(
                fmt::format("\"{}\": \"{}\" nests more than {} levels deep; a safetensors header has three: "
                            "it is damaged or of another format.",
                            file_, name_, kDeepest));
        }
        if (open_.empty()) {
            value_ = std::move(value);
            open_.push_back(&value_);
        } else {
            open_.push_back(insert(std::move(value)));
        }
        return true;
    }
    bool close() {
        open_.pop_back();
        if (open_.empty()) member_(name_, value_);
        return true;
    }

    std::string file_;
    Member member_;
    bool is_object_ = false;
    std::size_t error_position_ = 0;
    std::unordered_set<std::string> names_;
    std::string name_, key_;
    Json value_;               // the member that is being read
    std::vector<Json*> open_;  // objects and lists in it, from the outside
};

}  // namespace

std::string shown(const nlohmann::json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

/// Bytes of a tensor; nothing if they do not fit into 63 bits.
std::optional<std::uint64_t> size_of(SafetensorsType type, const std::vector<std::int64_t>& shape) {
    std::uint64_t size = bytes_of(type);
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    for (const std::int64_t extent : shape) {
        if (size >
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / static_cast<std::uint64_t>(extent))
            return std::nullopt;
        size *= static_cast<std::uint64_t>(extent);
    }
    return size;
}

void for_each_member(const std::string& file, std::string_view text, std::uint64_t offset, const Member& member) {
    MemberReader reader(file, member);
    if (Json::sax_parse(text, &reader)) return;
    if (reader.error_position() == 0) {
        throw DataError(fmt::format("\"{}\" has a header that is no JSON object; it is damaged: copy it again.", file));
    }
    throw DataError(
        fmt::format("\"{}\" has a header that is no JSON, from byte {} on; the file is damaged or no safetensors "
                    "file: copy it again.",
                    file, offset + reader.error_position() - 1));
}

}  // namespace smp::runtime::safetensors
