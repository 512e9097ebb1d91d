// Tensors in files, in the safetensors format: 8 bytes with the length of a JSON header, the header, the tensors'
// bytes.
//
// A file that opens is whole: the header lies inside it, names each tensor once, and the tensors fill the rest of the
// file without gaps or overlaps, each as large as its dtype and shape say. A file that was written is complete under
// its name, or not there. Little-endian; sizes are 64-bit. Nothing but the header is read before a tensor's bytes are
// touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/mapped_file.h"

namespace smp::runtime {

enum class SafetensorsType {
    BOOL,
    U8,
    I8,
    F8_E4M3,
    F8_E5M2,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    other  // unknown here: such a tensor may be in a file, but cannot be read
};

/// As in the file: "F32"; "?" for other.
std::string_view name(SafetensorsType type);
/// Of one element; not of other.
std::size_t bytes_of(SafetensorsType type);

struct SafetensorsEntry {
    std::string name;
    SafetensorsType dtype = SafetensorsType::F32;
    std::vector<std::int64_t> shape;  // row-major, empty for a scalar
    /// The elements, valid as long as what was opened. At any alignment when read: other writers need not align them.
    std::span<const std::byte> bytes;
    std::string dtype_name = {};  // of one that was read

    std::int64_t elements() const;
};

class SafetensorsFile {
  public:
    /// Throws DataError, which begins with the path in quotes and names the tensor or byte that is wrong.
    explicit SafetensorsFile(const std::filesystem::path& path);

    /// All of the file.
    std::span<const std::byte> bytes() const { return file_.bytes(); }

    const std::filesystem::path& path() const { return file_.path(); }
    /// In the order of their bytes.
    const std::vector<SafetensorsEntry>& entries() const { return entries_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    /// As MappedFile's: to be called after reading the entries' bytes.
    void require_whole() const { file_.require_whole(); }
    void let_go() const { file_.let_go(); }

  private:
    MappedFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, std::string> metadata_;
};

/// The tensors of a model, from one file or several.
class Weights {
  public:
    Weights(std::filesystem::path path, std::vector<SafetensorsFile> files);

    std::string path() const { return path_.string(); }
    const std::map<std::string, const SafetensorsEntry*, std::less<>>& entries() const { return entries_; }
    const SafetensorsEntry* find(std::string_view name) const;  ///< null if there is none

    /// The path of the file that has it.
    std::string file_of(const SafetensorsEntry& entry) const;

    /// Elements first … first + size − 1 in row-major order, as float (rounded to nearest from F64). dtype F32, F16,
    /// BF16, F64; DataError otherwise, and if the files have changed since they were opened.
    void read_float(const SafetensorsEntry& entry, std::int64_t first, std::span<float> values) const;
    /// As MappedFile's.
    void let_go() const;

  private:
    std::filesystem::path path_;
    std::vector<SafetensorsFile> files_;
    std::map<std::string, const SafetensorsEntry*, std::less<>> entries_;
};

/// A .safetensors file, or a directory as Hugging Face makes it: model.safetensors, or model.safetensors.index.json and
/// the files it names. Throws DataError, which says what is there instead.
Weights open_weights(const std::filesystem::path& path);

/// Writes the tensors (bytes as long as dtype and shape say; unique names) ordered by falling size of element, then by
/// name, from an offset of a multiple of 64, so that each lies aligned to its elements. Replaces a file of that name in
/// one step. Throws DataError if the file system refuses.
void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsEntry> tensors,
                       const std::map<std::string, std::string>& metadata = {});

using TakeBytes = std::function<void(std::span<const std::byte>)>;

/// A tensor to write that need not lie in memory.
struct SafetensorsSource {
    std::string name;
    SafetensorsType dtype = SafetensorsType::F32;
    std::vector<std::int64_t> shape;
    /// Asked once, when the tensor's turn has come: hands over its bytes, in their order, in pieces of any size.
    std::function<void(const TakeBytes& take)> bytes;
};

/// The same for tensors of any size in bounded memory. `seen` gets all bytes of the file, in their order. Throws what
/// the sources throw, too.
void stream_safetensors(const std::filesystem::path& path, std::span<const SafetensorsSource> tensors,
                        const std::map<std::string, std::string>& metadata = {}, const TakeBytes& seen = {});

}  // namespace smp::runtime
