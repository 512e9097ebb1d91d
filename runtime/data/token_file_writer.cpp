#include "runtime/data/token_file_writer.h"

#include <array>
#include <cstring>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

TokenType type_for(DataFormat format, std::int64_t vocab_size) {
    switch (format) {
        case DataFormat::nanogpt:
        case DataFormat::llmc: return vocab_size <= 65536 ? TokenType::uint16 : TokenType::uint32;
        case DataFormat::megatron: return vocab_size < 65500 ? TokenType::uint16 : TokenType::int32;
        case DataFormat::automatic:
        case DataFormat::text: break;
    }
    throw std::logic_error(fmt::format("Token files are not written as {}.", partition::word_of(format)));
}

template <class T>
void put(OutputFile& file, const T& value) {
    file.write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, DataFormat format, std::int64_t vocab_size,
                                 OutputFile::Existing existing)
    : path_(path), format_(format), vocab_size_(vocab_size), type_(type_for(format, vocab_size)), bin_(path, existing) {
    const std::filesystem::path index = index_path(path);
    if (format == DataFormat::megatron) {
        if (path.extension() != ".bin") {
            throw DataError(fmt::format(
                "\"{}\" does not end in .bin, as the larger of Megatron's two files must; name it \"{}.bin\".",
                path.string(), path.string()));
        }
        index_ = std::make_unique<OutputFile>(index, existing);
    } else if (std::error_code ignored; path.extension() == ".bin" && std::filesystem::exists(index, ignored)) {
        throw DataError(fmt::format(
            "\"{}\" lies beside \"{}\", which would be taken for the other half of a Megatron pair; remove it or "
            "choose another name.",
            index.string(), path.string()));
    }
    if (format == DataFormat::llmc) bin_.write(std::array<std::byte, kLlmcHeaderBytes>{});  // filled in at the end
}

void TokenFileWriter::append(std::span<const std::int64_t> tokens) {
    const std::size_t width = bytes_of(type_);
    packed_.resize(tokens.size() * width);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i] < 0 || tokens[i] >= vocab_size_) {
            throw std::logic_error(fmt::format("Token {} is written for a vocabulary of {}.", tokens[i], vocab_size_));
        }
        std::memcpy(packed_.data() + i * width, &tokens[i], width);  // little-endian: the low bytes come first
    }
    bin_.write(packed_);
    tokens_ += std::ssize(tokens);
}

void TokenFileWriter::end_document() {
    const std::int64_t length = tokens_ - document_begin_;
    if (length == 0) return;
    document_begin_ = tokens_;
    ++documents_;
    if (format_ != DataFormat::megatron) return;
    if (length > std::numeric_limits<std::int32_t>::max()) {
        throw DataError(fmt::format(
            "\"{}\": a document of {} tokens is longer than Megatron's format can say ({}); split it into several.",
            path_.string(), length, std::numeric_limits<std::int32_t>::max()));
    }
    lengths_.push_back(static_cast<std::int32_t>(length));
}

void TokenFileWriter::finish() {
    end_document();
    if (tokens_ == 0)
        throw DataError(fmt::format("\"{}\" would hold no tokens, since the input has no text; nothing was written.",
                                    path_.string()));
    if (format_ == DataFormat::llmc) write_llmc_header();
    if (index_) {
        write_megatron_index();
        index_->commit();
    }
    bin_.commit();
}

void TokenFileWriter::write_llmc_header() {
    if (tokens_ > std::numeric_limits<std::int32_t>::max()) {
        throw DataError(
            fmt::format("\"{}\" would hold {} tokens, more than llm.c's header can say ({}); make several files, or "
                        "use the nanogpt "
                        "format.",
                        path_.string(), tokens_, std::numeric_limits<std::int32_t>::max()));
    }
    const bool wide = type_ == TokenType::uint32;
    const std::array<std::int32_t, 3> header = {wide ? kLlmcLlama3Magic : kLlmcMagic,
                                                wide ? kLlmcLlama3Version : kLlmcVersion,
                                                static_cast<std::int32_t>(tokens_)};
    bin_.overwrite(0, std::as_bytes(std::span(header)));
}

void TokenFileWriter::write_megatron_index() {
    index_->write(std::as_bytes(std::span(kMegatronMagic)));
    put(*index_, kMegatronVersion);
    put(*index_, std::uint8_t{type_ == TokenType::uint16 ? std::uint8_t{8} : std::uint8_t{4}});
    put(*index_, std::uint64_t{lengths_.size()});
    put(*index_, std::uint64_t{lengths_.size() + 1});
    index_->write(std::as_bytes(std::span(lengths_)));
    std::int64_t position = 0;
    for (const std::int32_t length : lengths_) {
        put(*index_, position);
        position += length * static_cast<std::int64_t>(bytes_of(type_));
    }
    for (std::int64_t document = 0; document <= std::ssize(lengths_); ++document) put(*index_, document);
}

}  // namespace smp::runtime
