#include "runtime/agreement/program_version.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <string_view>

#include <fmt/format.h>

namespace smp::runtime {

using namespace std::string_view_literals;

namespace {

struct Search {
    std::uintptr_t inside;  // an address in the object that is looked for
    std::string build;
};

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

/// The GNU build id in a segment of notes, as hexadecimal digits; empty if there is none.
std::string build_id_in(const std::byte* notes, std::size_t size) {
    while (size >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        std::memcpy(&note, notes, sizeof note);
        const std::size_t name = sizeof note, content = name + padded(note.n_namesz),
                          end = content + padded(note.n_descsz);
        if (end > size) break;
        const std::string_view owner(reinterpret_cast<const char*>(notes + name), note.n_namesz);
        if (note.n_type == NT_GNU_BUILD_ID && owner == "GNU\0"sv) {
            std::string digits;
            for (std::size_t i = 0; i < note.n_descsz; ++i)
                digits += fmt::format("{:02x}", static_cast<unsigned>(notes[content + i]));
            return digits;
        }
        notes += end;
        size -= end;
    }
    return "";
}

int look_at(dl_phdr_info* object, std::size_t, void* argument) {
    auto& search = *static_cast<Search*>(argument);
    bool is_here = false;
    std::string build;
    for (int i = 0; i < object->dlpi_phnum; ++i) {
        const auto& segment = object->dlpi_phdr[i];
        const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_LOAD)
            is_here = is_here || (search.inside >= begin && search.inside < begin + segment.p_memsz);
        if (segment.p_type == PT_NOTE && build.empty())
            build = build_id_in(reinterpret_cast<const std::byte*>(begin), segment.p_memsz);
    }
    if (is_here) search.build = build;
    return is_here ? 1 : 0;  // 1 ends the search
}

}  // namespace

std::string program_version() {
    Search search{.inside = reinterpret_cast<std::uintptr_t>(&look_at), .build = ""};
    ::dl_iterate_phdr(look_at, &search);
    return fmt::format("{}, build {}", SMP_VERSION, search.build.empty() ? "unknown" : search.build);
}

}  // namespace smp::runtime
