// Random single changes of a JSON text: what a careless hand, a merge or a script would do to a saved plan.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::testing {

class JsonMutator {
  public:
    using Json = nlohmann::ordered_json;

    /// Words are exchanged for others that stand under the same key somewhere in `whole`. Members named in `spared` are
    /// left alone.
    JsonMutator(const Json& whole, std::set<std::string> spared, std::mt19937_64& random)
        : spared_(std::move(spared)), random_(random) {
        collect(whole);
    }

    /// Changes one thing below `value` and says what; empty if the dice found nothing to change.
    std::string mutate(Json& value, const std::string& path = "") {
        if (value.is_structured() && !value.empty() && below(4) != 0) {  // further down
            const std::size_t i = below(value.size());
            auto item = value.begin();
            std::advance(item, static_cast<std::ptrdiff_t>(i));
            if (value.is_array()) return mutate(*item, fmt::format("{}[{}]", path, i));
            if (spared_.contains(item.key())) return "";
            key_ = item.key();
            return mutate(*item, path + "." + item.key());
        }
        if (value.is_object()) return drop_member(value, path);
        if (value.is_array()) return change_list(value, path);
        const std::string before = value.dump();
        if (value.is_boolean()) {
            value = !value.get<bool>();
        } else if (value.is_number_integer()) {
            value = value.get<std::int64_t>() + (below(2) == 0 ? 1 : -1);
        } else if (value.is_number()) {
            value = value.get<double>() * 2;
        } else {
            const auto& words = words_[key_];
            value = words[below(words.size())];
        }
        return fmt::format("{}: {} -> {}", path, before, value.dump());
    }

  private:
    std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }

    void collect(const Json& value, const std::string& key = "") {
        if (value.is_string()) words_[key].push_back(value.get<std::string>());
        if (value.is_array())
            for (const Json& item : value) collect(item, key);
        if (value.is_object())
            for (const auto& [name, member] : value.items()) collect(member, name);
    }

    std::string drop_member(Json& object, const std::string& path) {
        auto member = object.begin();
        if (object.empty()) return "";
        std::advance(member, static_cast<std::ptrdiff_t>(below(object.size())));
        const std::string name = member.key();
        if (spared_.contains(name)) return "";
        object.erase(name);
        return fmt::format("{}: without {}", path, name);
    }

    std::string change_list(Json& list, const std::string& path) {
        if (list.empty()) return "";
        const std::size_t i = below(list.size()), j = below(list.size());
        switch (below(3)) {
            case 0: list.erase(i); return fmt::format("{}: without [{}]", path, i);
            case 1: {
                const Json copy = list[i];
                list.insert(list.begin() + static_cast<std::ptrdiff_t>(j), copy);
                return fmt::format("{}: [{}] again at {}", path, i, j);
            }
            default: std::swap(list[i], list[j]); return fmt::format("{}: [{}] and [{}] swapped", path, i, j);
        }
    }

    std::set<std::string> spared_;
    std::mt19937_64& random_;
    std::map<std::string, std::vector<std::string>> words_;  // by key
    std::string key_;
};

}  // namespace smp::testing
