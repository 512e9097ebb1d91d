#include "runtime/files/binary_format.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace smp::runtime {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kDecompress = "decompress it first";
constexpr std::string_view kTextOfTable =
    "write the text of its rows into a text file, or their tokens into a token file";
constexpr std::string_view kNoData = "name a text or token file";
constexpr std::string_view kWeights = "weights belong to training.initial_weights, and data are text or tokens";
constexpr std::string_view kReencode = "convert it to UTF-8 (iconv -t UTF-8)";
constexpr std::string_view kArray =
    "write the elements alone, as array.astype(numpy.uint16).tofile(\"tokens.bin\") does";

struct Magic {
    std::string_view bytes;
    BinaryFormat format;
    std::size_t offset = 0;
    std::string_view end = {};  // stands at the end of the file too
};

// The longer of two that begin alike comes first.
constexpr std::array kMagics = {
    Magic{"\x93NUMPY"sv, {"a NumPy array (.npy)", kArray}},
    Magic{"\x1f\x8b\x08"sv, {"compressed by gzip", "decompress it first (gunzip)"}},
    Magic{"\x28\xb5\x2f\xfd"sv, {"compressed by zstd", "decompress it first (unzstd)"}},
    Magic{"\xfd"
          "7zXZ\0"sv,
          {"compressed by xz", "decompress it first (unxz)"}},
    Magic{"\x04\x22\x4d\x18"sv, {"compressed by lz4", "decompress it first (unlz4)"}},
    Magic{"\x31\x41\x59\x26\x53\x59"sv, {"compressed by bzip2", "decompress it first (bunzip2)"}, 4},
    Magic{"\xff\x06\0\0sNaPpY"sv, {"compressed by snappy", kDecompress}},
    Magic{"7z\xbc\xaf\x27\x1c"sv, {"a 7z archive", kDecompress}},
    Magic{"Rar!\x1a\x07"sv, {"a RAR archive", kDecompress}},
    Magic{"PK\x03\x04"sv,
          {"a zip archive, as are .npz arrays and PyTorch's .pt and .bin files",
           "unpack it, and write text as .txt or token numbers as bare integers"}},
    Magic{"PK\x05\x06"sv, {"an empty zip archive", kNoData}},
    Magic{"ustar"sv, {"a tar archive", "unpack it first (tar -x)"}, 257},
    Magic{"PAR1"sv, {"a Parquet table", kTextOfTable}, 0, "PAR1"sv},
    Magic{"ARROW1\0\0"sv, {"an Arrow table", kTextOfTable}},
    Magic{"\xff\xff\xff\xff"sv, {"an Arrow stream, as Hugging Face data sets are stored", kTextOfTable}},
    Magic{"FEA1"sv, {"a Feather table", kTextOfTable}, 0, "FEA1"sv},
    Magic{"Obj\x01"sv, {"an Avro table", kTextOfTable}},
    Magic{"\x89HDF\r\n\x1a\n"sv, {"an HDF5 file", kTextOfTable}},
    Magic{"SQLite format 3\0"sv, {"an SQLite data base", kTextOfTable}},
    Magic{"\xde\xc0\xef\xbe"sv, {"an LMDB data base", kTextOfTable}, 16},
    Magic{"MMIDIDX\0\0"sv, {"the index of a Megatron pair", "name the .bin beside it"}},
    Magic{"TNTIDX\0\0"sv, {"an index of fairseq's old format", "make token files with smp_data encode"}},
    Magic{"GGUF"sv, {"a GGUF file of weights", kWeights}},
    Magic{"\x89PNG\r\n\x1a\n"sv, {"a PNG picture", kNoData}},
    Magic{"\xff\xd8\xff"sv, {"a JPEG picture", kNoData}},
    Magic{"GIF87a"sv, {"a GIF picture", kNoData}},
    Magic{"GIF89a"sv, {"a GIF picture", kNoData}},
    Magic{"%PDF-"sv, {"a PDF document", "extract its text (pdftotext)"}},
    Magic{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, {"an old Office document", "save it as plain text"}},
    Magic{"\x7f"
          "ELF"sv,
          {"a program or library (ELF)", kNoData}},
    Magic{"\xff\xfe\0\0"sv, {"text in UTF-32 (little-endian)", kReencode}},
    Magic{"\0\0\xfe\xff"sv, {"text in UTF-32 (big-endian)", kReencode}},
    Magic{"\xff\xfe"sv, {"text in UTF-16 (little-endian)", kReencode}},
    Magic{"\xfe\xff"sv, {"text in UTF-16 (big-endian)", kReencode}},
};

bool stands_at(std::string_view text, std::size_t offset, std::string_view mark) {
    return text.size() >= offset + mark.size() && text.substr(offset, mark.size()) == mark;
}

/// Protocol and first operation of a pickle, and the stop at its end.
bool is_pickle(std::string_view text) {
    if (text.size() < 4 || text[0] != '\x80' || text.back() != '.') return false;
    const char protocol = text[1], operation = text[2];
    if (protocol == 4 || protocol == 5) return operation == '\x95';
    return (protocol == 2 || protocol == 3) && "}](c\x8aX"sv.find(operation) != std::string_view::npos;
}

/// A length that lies inside the file, and the header that it is the length of.
bool is_safetensors(std::string_view text) {
    if (text.size() < 10 || text[8] != '{' || text[9] != '"') return false;
    std::uint64_t length = 0;
    std::memcpy(&length, text.data(), sizeof length);
    return length >= 2 && length <= text.size() - 8 && text.substr(8, length).find_last_not_of(' ') != text.npos &&
           text[8 + text.substr(8, length).find_last_not_of(' ')] == '}';
}

}  // namespace

std::optional<BinaryFormat> binary_format(std::span<const std::byte> bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (const Magic& magic : kMagics) {
        if (stands_at(text, magic.offset, magic.bytes) && (magic.end.empty() || text.ends_with(magic.end)))
            return magic.format;
    }
    if (stands_at(text, 0, "RIFF") && (stands_at(text, 8, "WAVE") || stands_at(text, 8, "WEBP")))
        return BinaryFormat{"a sound or picture (RIFF)", kNoData};
    if (stands_at(text, 0, "ORC") && text.size() > 8 && stands_at(text, text.size() - 4, "ORC"))
        return BinaryFormat{"an ORC table", kTextOfTable};
    if (is_pickle(text))
        return BinaryFormat{"a Python pickle, as torch.save wrote once",
                            "write text as .txt or token numbers as bare integers"};
    if (is_safetensors(text)) return BinaryFormat{"a safetensors file of tensors", kWeights};
    return std::nullopt;
}

}  // namespace smp::runtime
