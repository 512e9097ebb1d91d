// Makes token files in the formats of other trainers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "runtime/data/token_file_layout.h"
#include "runtime/files/output_file.h"

namespace smp::runtime {

/// Tokens go to the disk as they come; the file appears under its name when it is finished, and replaces one of that
/// name only then. Widths: nanogpt uint16 for vocabularies up to 65536, else uint32; llmc likewise (GPT-2's and Llama
/// 3's variant); megatron uint16 below 65500, else int32, as Megatron chooses.
class TokenFileWriter {
  public:
    /// `format` is nanogpt, llmc or megatron. `path` is the .bin; Megatron's .idx goes beside it. Throws DataError if a
    /// file is there and may not be replaced, or cannot be made, or if an .idx lies beside a file that is to be no half
    /// of a pair.
    TokenFileWriter(const std::filesystem::path& path, DataFormat format, std::int64_t vocab_size,
                    OutputFile::Existing existing);

    /// Tokens below vocab_size.
    void append(std::span<const std::int64_t> tokens);
    /// Ends a document: those of Megatron's index. A document without tokens is none.
    void end_document();
    /// Ends the last document and puts the files in place, the .idx first: a .bin alone would be taken for another
    /// format. Throws DataError if there are no tokens, or more than the format can count.
    void finish();

    TokenType type() const { return type_; }
    std::int64_t tokens() const { return tokens_; }
    std::int64_t documents() const { return documents_; }

  private:
    void write_llmc_header();
    void write_megatron_index();

    std::filesystem::path path_;
    DataFormat format_;
    std::int64_t vocab_size_;
    TokenType type_;
    OutputFile bin_;
    std::unique_ptr<OutputFile> index_;  // Megatron's
    std::int64_t tokens_ = 0;
    std::int64_t documents_ = 0;
    std::int64_t document_begin_ = 0;
    std::vector<std::int32_t> lengths_;  // Megatron's, of the documents
    std::vector<std::byte> packed_;      // kept for its memory
};

}  // namespace smp::runtime
