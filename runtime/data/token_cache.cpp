#include "runtime/data/token_cache.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"
#include "runtime/files/sum128.h"

namespace smp::runtime {
namespace {

constexpr std::string_view kFormat = "smp tokens of a text, 1\n";  // another number for another way to make them
constexpr std::size_t kHeaderBytes = 4096;                         // the identity, the facts, spaces
constexpr std::size_t kSumDigits = 32;
constexpr std::string_view kExtension = ".tokens";
constexpr std::size_t kSummedAtOnce = std::size_t{1} << 22;

/// Thrown and caught in this file: why tokens cannot be kept.
struct CannotKeep {
    std::string why;
};

struct Facts {
    std::int64_t tokens = 0;
    std::int64_t width = 0;  // bytes of one
    std::string sum;         // over all of them
};

std::string facts_line(const Facts& facts) {
    return fmt::format("{} tokens of {} bytes, sum {}\n", facts.tokens, facts.width, facts.sum);
}

/// Nothing unless `header` is the identity and such a line.
std::optional<Facts> facts_in(std::string_view header, std::string_view identity) {
    if (header.size() < kHeaderBytes || !header.starts_with(identity)) return std::nullopt;
    header.remove_prefix(identity.size());
    Facts facts;
    const auto number = [&](std::int64_t& value, std::string_view after) {
        const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), value);
        header.remove_prefix(static_cast<std::size_t>(end - header.data()));
        const bool is_right = error == std::errc() && header.starts_with(after);
        if (is_right) header.remove_prefix(after.size());
        return is_right;
    };
    if (!number(facts.tokens, " tokens of ") || !number(facts.width, " bytes, sum ") || header.size() < kSumDigits)
        return std::nullopt;
    facts.sum = header.substr(0, kSumDigits);
    return facts;
}

std::string header_of(const std::string& identity, const Facts& facts) {
    std::string header = identity + facts_line(facts);
    if (header.size() >= kHeaderBytes) throw std::logic_error("A tokenizer's identity is too long: " + identity);
    header.resize(kHeaderBytes - 1, ' ');
    return header + '\n';
}

/// Of length and time, by which a file is known to be the one that another process has read.
struct Stamp {
    std::int64_t bytes = -1, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
};

Stamp stamp_of(const std::filesystem::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {};
    return {.bytes = status.st_size,
            .nanoseconds = static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

/// The header of the file that `bytes` are; less where it is cut.
std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kHeaderBytes)};
}

/// Whether the tokens are those that were written.
bool holds(std::span<const std::byte> bytes, const std::string& identity) {
    const auto facts = facts_in(text_of(bytes), identity);
    return facts && facts->sum == sum128(bytes.subspan(kHeaderBytes));
}

bool is_name_of_tokens(const std::string& name) {
    return name.size() >= kSumDigits + kExtension.size() && name.find_first_not_of("0123456789abcdef") == kSumDigits &&
           std::string_view(name).substr(kSumDigits).starts_with(kExtension);
}

}  // namespace

struct TokenCache::Entry {
    std::string text;  // its path
    Stamp stamp;
    std::string identity;
    std::string where;                                     // by which any process of this machine can open it
    std::shared_ptr<const std::vector<std::byte>> memory;  // or where nobody else can
};

/// Where tokens are written.
class TokenCache::Target {
  public:
    virtual ~Target() = default;
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual void write(std::span<const std::byte> bytes) = 0;  // the header's place first
    /// Puts the header in its place, and into the entry where all lies.
    virtual void finish(std::span<const std::byte> header, Entry& entry) = 0;
};

class TokenCache::InFolder final : public Target {
  public:
    explicit InFolder(std::filesystem::path path) : path_(std::move(path)) {
        std::error_code error;
        std::filesystem::create_directories(path_.parent_path(), error);
        if (error) throw CannotKeep{fmt::format("\"{}\": {}.", path_.parent_path().string(), error.message())};
        keep([&] { file_ = std::make_unique<OutputFile>(path_, OutputFile::Existing::replace); });
    }
    void write(std::span<const std::byte> bytes) override {
        keep([&] { file_->write(bytes); });
    }
    void finish(std::span<const std::byte> header, Entry& entry) override {
        keep([&] {
            file_->overwrite(0, header);
            file_->commit();
        });
        entry.where = path_.string();
    }

  private:
    template <class Act>
    static void keep(Act act) {
        try {
            act();
        } catch (const DataError& error) {
            throw CannotKeep{error.what()};
        }
    }

    std::filesystem::path path_;
    std::unique_ptr<OutputFile> file_;
};

class TokenCache::InSharedMemory final : public Target {
  public:
    /// `owner` closes it.
    explicit InSharedMemory(std::vector<int>& owner) : file_(::memfd_create("smp-tokens", MFD_CLOEXEC)) {
        if (file_ < 0) throw CannotKeep{std::strerror(errno)};
        owner.push_back(file_);
    }
    void write(std::span<const std::byte> bytes) override {
        while (!bytes.empty()) {
            const ssize_t written = ::write(file_, bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) throw CannotKeep{std::strerror(errno)};
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
    }
    void finish(std::span<const std::byte> header, Entry& entry) override {
        if (::lseek(file_, 0, SEEK_SET) != 0) throw CannotKeep{std::strerror(errno)};
        write(header);
        entry.where = fmt::format("/proc/{}/fd/{}", ::getpid(), file_);
    }

  private:
    int file_;
};

class TokenCache::InOwnMemory final : public Target {
  public:
    void write(std::span<const std::byte> bytes) override { bytes_->insert(bytes_->end(), bytes.begin(), bytes.end()); }
    void finish(std::span<const std::byte> header, Entry& entry) override {
        std::copy(header.begin(), header.end(), bytes_->begin());
        entry.memory = bytes_;
    }

  private:
    std::shared_ptr<std::vector<std::byte>> bytes_ = std::make_shared<std::vector<std::byte>>();
};

TokenCache::TokenCache(Settings settings) : settings_(std::move(settings)) {}
TokenCache::TokenCache(TokenCache&& other) noexcept
    : settings_(std::move(other.settings_)),
      entries_(std::move(other.entries_)),
      memory_(std::exchange(other.memory_, {})),
      warnings_(std::move(other.warnings_)) {}
TokenCache::~TokenCache() {
    for (const int file : memory_) ::close(file);
}

TextTokens TokenCache::tokens_of(const MappedFile& text, const TextTokenizer& tokenizer) {
    const std::string by = fmt::format("tokenizer: {}\n", tokenizer.identity());
    Entry entry{
        .text = text.path().string(), .stamp = stamp_of(text.path()), .identity = {}, .where = {}, .memory = {}};
    for (const Entry& known : entries_) {
        if (known.text == entry.text && known.stamp == entry.stamp && known.identity.ends_with(by))
            if (auto tokens = opened(known)) return *std::move(tokens);
    }
    Sum128 sum;
    for (std::size_t begin = 0; begin < text.size(); begin += kSummedAtOnce) {
        report("reading", text, begin);
        sum.update(text.bytes().subspan(begin, std::min(kSummedAtOnce, text.size() - begin)));
    }
    text.require_whole();
    entry.identity = fmt::format("{}text: {} bytes, sum {}\n{}", kFormat, text.size(), sum.take(), by);

    std::optional<TextTokens> tokens;
    if (!settings_.folder.empty()) {
        entry.where = (settings_.folder / (sum128(std::as_bytes(std::span(entry.identity))) += kExtension)).string();
        tokens = opened(entry);
        if (tokens && !holds(tokens->bytes(), entry.identity)) tokens.reset();
    }
    if (!tokens) {
        entry = made(text, tokenizer, std::move(entry));
        text.require_whole();
        if (stamp_of(text.path()) != entry.stamp)
            throw DataError(
                fmt::format("\"{}\" was changed while it was tokenised; start again, and leave it alone meanwhile.",
                            text.path().string()));
        tokens = opened(entry);
        if (!tokens) throw std::logic_error("The tokens of a text were written and cannot be read: " + entry.where);
    }
    entries_.push_back(std::move(entry));
    return *std::move(tokens);
}

/// Tokenises into the first place that takes it.
TokenCache::Entry TokenCache::made(const MappedFile& text, const TextTokenizer& tokenizer, Entry entry) {
    const auto into = [&](Target&& target) {
        write(
            text, tokenizer, entry, [&](const char* what, std::size_t done) { report(what, text, done); }, target);
        return std::move(entry);
    };
    const std::filesystem::path place = std::exchange(entry.where, "");
    if (!settings_.folder.empty()) {
        try {
            return into(InFolder(place));
        } catch (const CannotKeep& failure) {
            warnings_.push_back(
                fmt::format("the tokens of \"{}\" are held in memory and made again at the next start, since they "
                            "cannot be kept: {}",
                            text.path().string(), failure.why));
        }
    }
    try {
        return into(InSharedMemory(memory_));
    } catch (const CannotKeep&) {  // then every process has its own
        return into(InOwnMemory());
    }
}

void TokenCache::write(const MappedFile& text, const TextTokenizer& tokenizer, Entry& entry,
                       const std::function<void(const char* what, std::size_t done)>& report, Target& target) {
    Facts facts{.tokens = 0, .width = tokenizer.vocab_size() <= 65536 ? 2 : 4, .sum = {}};
    const auto width = static_cast<std::size_t>(facts.width);
    Sum128 sum;
    std::vector<std::byte> packed;
    std::size_t done = 0;
    target.write(std::vector<std::byte>(kHeaderBytes));
    tokenizer.encode({reinterpret_cast<const char*>(text.bytes().data()), text.size()}, {},
                     [&](std::span<const std::int64_t> tokens, std::size_t bytes) {
                         packed.resize(tokens.size() * width);
                         for (std::size_t i = 0; i < tokens.size(); ++i)  // little-endian: the low bytes come first
                             std::memcpy(packed.data() + i * width, &tokens[i], width);
                         sum.update(packed);
                         target.write(packed);
                         facts.tokens += std::ssize(tokens);
                         report("tokenising", done += bytes);
                     });
    facts.sum = sum.take();
    const std::string header = header_of(entry.identity, facts);
    target.finish(std::as_bytes(std::span(header)), entry);
}

/// Nothing where there is no such file, or one that was made of something else or cut. Whether the sum holds is not
/// looked at.
std::optional<TextTokens> TokenCache::opened(const Entry& entry) {
    try {
        TextTokens tokens{.file = {}, .memory = entry.memory, .layout = {}};
        if (!tokens.memory) tokens.file.emplace(entry.where);
        const auto facts = facts_in(text_of(tokens.bytes()), entry.identity);
        if (!facts || (facts->width != 2 && facts->width != 4) || facts->tokens < 1) return std::nullopt;
        const std::size_t size = tokens.bytes().size() - kHeaderBytes, width = static_cast<std::size_t>(facts->width);
        if (size % width != 0 || size / width != static_cast<std::size_t>(facts->tokens)) return std::nullopt;
        tokens.layout = {.type = width == 2 ? TokenType::uint16 : TokenType::uint32,
                         .offset = kHeaderBytes,
                         .tokens = facts->tokens,
                         .documents = {}};
        return tokens;
    } catch (const DataError&) {
        return std::nullopt;
    }
}

void TokenCache::report(const char* what, const MappedFile& text, std::size_t done) const {
    if (settings_.report)
        settings_.report({.what = fmt::format("{} \"{}\"", what, text.path().string()),
                          .done = static_cast<std::int64_t>(done),
                          .of = static_cast<std::int64_t>(text.size())});
}

std::string TokenCache::known() const {
    std::string known;
    for (const Entry& entry : entries_) {
        if (entry.memory) continue;
        for (const std::string& field : {entry.text, std::to_string(entry.stamp.bytes),
                                         std::to_string(entry.stamp.nanoseconds), entry.identity, entry.where}) {
            known += field;
            known += '\0';
        }
    }
    return known;
}

void TokenCache::learn(std::string_view known) {
    const auto field = [&] {
        const std::size_t end = known.find('\0');
        const std::string value(known.substr(0, end));
        known.remove_prefix(end == known.npos ? known.size() : end + 1);
        return value;
    };
    while (!known.empty()) {
        Entry entry;
        entry.text = field();
        entry.stamp.bytes = std::stoll(field());
        entry.stamp.nanoseconds = std::stoll(field());
        entry.identity = field();
        entry.where = field();
        entries_.push_back(std::move(entry));
    }
}

void TokenCache::remove_others() const {
    if (settings_.folder.empty()) return;
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(settings_.folder, none)) {
        const bool is_needed = std::ranges::any_of(
            entries_, [&](const Entry& entry) { return std::filesystem::path(entry.where) == file.path(); });
        if (!is_needed && is_name_of_tokens(file.path().filename().string()))
            std::filesystem::remove(file.path(), none);
    }
    std::filesystem::remove(settings_.folder, none);  // succeeds where it is empty
}

}  // namespace smp::runtime
