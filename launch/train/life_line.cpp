#include "launch/train/life_line.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <ifaddrs.h>
#include <mutex>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <poll.h>
#include <random>
#include <sstream>
#include <sys/socket.h>
#include <utility>

#include <fmt/format.h>

#include "launch/train/service_thread.h"
#include "runtime/agreement/agreement.h"

namespace smp::launch {

namespace {

using runtime::RankPlace;

constexpr int kPatienceMilliseconds = 1000;  // for one address to answer

/// How a process takes leave, and how rank 0 greets.
enum class Word : char { hello = 'h', done = 'd', failed = 'f' };

/// What a connection begins with: which job it is of (several share hosts), and whose it is.
struct Introduction {
    std::uint64_t job = 0;
    std::int64_t rank = 0;
};

bool is_readable_within(int socket, int milliseconds) {
    pollfd entry{.fd = socket, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, milliseconds) > 0;
}

void say(int socket, Word word) {
    const char byte = static_cast<char>(word);
    static_cast<void>(::send(socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT));  // whoever is gone needs no leave
}

/// What the other side has said; none: its connection has ended. May block only where nothing is readable.
std::optional<Word> hear(int socket) {
    char byte = 0;
    ssize_t length = 0;
    do {
        length = ::recv(socket, &byte, 1, 0);
    } while (length < 0 && errno == EINTR);
    if (length != 1) return std::nullopt;
    return static_cast<Word>(byte);
}

/// Asks the system to notice a host that no longer answers.
void keep_alive(int socket) {
    const auto set = [&](int level, int name, int value) {
        static_cast<void>(::setsockopt(socket, level, name, &value, sizeof value));
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

/// Of this host; the loopback last.
std::vector<std::string> own_addresses() {
    std::vector<std::string> addresses;
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) == 0) {
        for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
            if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
            if ((one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
            std::array<char, INET_ADDRSTRLEN> text{};
            const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
            if (::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size()) != nullptr)
                addresses.emplace_back(text.data());
        }
        ::freeifaddrs(all);
    }
    addresses.emplace_back("127.0.0.1");
    return addresses;
}

/// Connects and introduces itself; empty where nobody of this job answers there.
Descriptor connected(const std::string& address, std::uint16_t port, const Introduction& own) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    if (!socket || ::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return Descriptor();
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
        return Descriptor();
    pollfd entry{.fd = socket.get(), .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t size = sizeof error;
    if (::poll(&entry, 1, kPatienceMilliseconds) <= 0 ||
        ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
        return Descriptor();
    if (::send(socket.get(), &own, sizeof own, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof own)) return Descriptor();
    if (!is_readable_within(socket.get(), kPatienceMilliseconds) || hear(socket.get()) != Word::hello)
        return Descriptor();
    keep_alive(socket.get());
    return socket;
}

std::string sentence(const RankPlace& place) {
    return fmt::format(
        "rank {} ({}) on {}, process {}, is gone without a word: somebody or the system (for lack of memory) has "
        "killed "
        "it, or its host or network has failed",
        place.rank, place.coordinate, place.host, place.process);
}

}  // namespace

/// Watches connections on a thread of its own until it is told to stop.
class LifeLine::End {
  public:
    explicit End(std::function<void(const std::string&)> lost) : lost_(std::move(lost)) {}
    virtual ~End() = default;

    /// By leave of the connections, with the first `word`. From any thread.
    void stop(Word word) {
        const std::lock_guard lock(stopping_);
        if (std::exchange(is_stopped_, true)) return;
        leave_ = word;
        thread_.stop();
    }

  protected:
    void start() {
        thread_.start("smp life line", [this] { watch(); });
    }
    virtual void watch() = 0;
    void miss(const RankPlace& place) {
        if (!std::exchange(has_spoken_, true)) lost_(sentence(place));
    }
    /// From now on nobody is missed: the job ends for a reason that was said.
    void be_quiet() { has_spoken_ = true; }
    Word leave() const { return leave_; }
    int stop_descriptor() const { return thread_.stop_descriptor(); }

  private:
    std::function<void(const std::string&)> lost_;
    bool has_spoken_ = false;  // the thread's
    std::mutex stopping_;
    bool is_stopped_ = false;
    std::atomic<Word> leave_ = Word::done;
    ServiceThread thread_;
};

/// Rank 0's.
class LifeLine::Center final : public LifeLine::End {
  public:
    Center(const std::vector<RankPlace>& places, std::function<void(const std::string&)> lost)
        : End(std::move(lost)), places_(places), job_(std::random_device{}()), listener_(listening_socket(0)) {
        if (!listener_) return;
        start();
    }

    /// "job port address address …" for the others; empty where nobody can be listened to.
    std::string invitation() const {
        if (!listener_) return "";
        std::string text = fmt::format("{} {}", job_, port_of(listener_));
        for (const std::string& address : own_addresses()) text += " " + address;
        return text;
    }

  private:
    struct Connection {
        Descriptor socket;
        int rank = -1;  // not introduced yet
        Introduction introduction = {};
        std::size_t introduced = 0;  // bytes of it
    };

    void watch() override {
        for (;;) {
            std::vector<pollfd> entries = {{.fd = stop_descriptor(), .events = POLLIN, .revents = 0},
                                           {.fd = listener_.get(), .events = POLLIN, .revents = 0}};
            for (const Connection& connection : connections_)
                entries.push_back({.fd = connection.socket.get(), .events = POLLIN, .revents = 0});
            if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
            if (entries[0].revents != 0) break;
            for (std::size_t i = connections_.size(); i-- > 0;)
                if (entries[2 + i].revents != 0 && !listen_to(connections_[i]))
                    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
            if (entries[1].revents != 0) take_in();
        }
        for (const Connection& connection : connections_) say(connection.socket.get(), leave());
    }
    void take_in() {
        Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket) return;
        keep_alive(socket.get());
        connections_.push_back({.socket = std::move(socket)});
    }
    /// Whether it goes on.
    bool listen_to(Connection& connection) {
        if (connection.rank < 0) return introduce(connection);
        const auto word = hear(connection.socket.get());
        if (!word)
            miss(places_[static_cast<std::size_t>(connection.rank)]);
        else if (*word == Word::failed)
            be_quiet();
        return false;
    }
    bool introduce(Connection& connection) {
        auto* bytes = reinterpret_cast<char*>(&connection.introduction);
        const ssize_t length = ::recv(connection.socket.get(), bytes + connection.introduced,
                                      sizeof connection.introduction - connection.introduced, 0);
        if (length < 0) return errno == EAGAIN || errno == EINTR;
        connection.introduced += static_cast<std::size_t>(length);
        if (length == 0) return false;
        if (connection.introduced < sizeof connection.introduction) return true;
        const auto [job, rank] = connection.introduction;
        if (job != job_ || rank <= 0 || rank >= static_cast<std::int64_t>(places_.size())) return false;
        connection.rank = static_cast<int>(rank);
        say(connection.socket.get(), Word::hello);
        return true;
    }

    std::vector<RankPlace> places_;
    std::uint64_t job_;
    Descriptor listener_;
    std::vector<Connection> connections_;
};

/// Any other rank's.
class LifeLine::Spoke final : public LifeLine::End {
  public:
    Spoke(const std::vector<RankPlace>& places, int rank, const std::string& invitation,
          std::function<void(const std::string&)> lost)
        : End(std::move(lost)), center_(places.front()) {
        const auto elsewhere =
            std::ranges::find_if(places, [&](const RankPlace& place) { return place.host != places.front().host; });
        watches_center_ = (elsewhere != places.end() ? elsewhere->rank : places.back().rank) == rank;
        std::istringstream words(invitation);
        Introduction own{.rank = rank};
        std::uint16_t port = 0;
        if (!(words >> own.job >> port)) return;
        const bool is_same_host = places[static_cast<std::size_t>(rank)].host == center_.host;
        for (std::string address; !socket_ && words >> address;)
            if (is_same_host || address != "127.0.0.1") socket_ = connected(address, port, own);
        if (socket_) start();
    }

  private:
    void watch() override {
        std::array<pollfd, 2> entries = {{{.fd = stop_descriptor(), .events = POLLIN, .revents = 0},
                                          {.fd = socket_.get(), .events = POLLIN, .revents = 0}}};
        while (::poll(entries.data(), entries.size(), -1) < 0 && errno == EINTR) {}
        if (entries[1].revents != 0) {
            if (!hear(socket_.get()) && watches_center_) miss(center_);
        } else {
            say(socket_.get(), leave());
        }
    }

    RankPlace center_;
    bool watches_center_ = false;
    Descriptor socket_;
};

LifeLine::LifeLine(comms::Communicator& world, const std::vector<RankPlace>& places,
                   std::function<void(const std::string&)> lost) {
    const bool is_one_process = std::ranges::all_of(places, [&](const RankPlace& place) {
        return place.host == places.front().host && place.process == places.front().process;
    });
    if (is_one_process) return;
    if (world.rank() == 0) {
        auto center = std::make_unique<Center>(places, std::move(lost));
        runtime::text_of_first(world, center->invitation());
        end_ = std::move(center);
    } else {
        end_ = std::make_unique<Spoke>(places, world.rank(), runtime::text_of_first(world, ""), std::move(lost));
    }
    runtime::fail_together(world, [] {});  // all have tried: nobody goes on while others look for a way
}

void LifeLine::fail() noexcept {
    if (end_) end_->stop(Word::failed);
}

LifeLine::~LifeLine() {
    if (end_) end_->stop(std::uncaught_exceptions() > 0 ? Word::failed : Word::done);
}

}  // namespace smp::launch
