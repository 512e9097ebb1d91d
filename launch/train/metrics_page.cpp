#include "launch/train/metrics_page.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>
#include <poll.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

#include <fmt/format.h>

#include "launch/train/service_thread.h"

namespace smp::launch {

namespace {

/// A reader that takes longer to ask, or to take the answer, is left alone: others wait meanwhile.
constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};
constexpr std::size_t kLongestRequest = 8192;

/// Up to the empty line behind its head.
std::string request_from(int socket) {
    std::string request;
    std::array<char, 1024> buffer{};
    while (request.find("\r\n\r\n") == std::string::npos && request.size() < kLongestRequest) {
        const ssize_t length = ::recv(socket, buffer.data(), buffer.size(), 0);
        if (length <= 0) break;
        request.append(buffer.data(), static_cast<std::size_t>(length));
    }
    return request;
}

void answer(int socket, const std::string& status, const std::string& body) {
    const std::string text = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: "
        "close\r\n\r\n{}",
        status, body.size(), body);
    for (std::string_view rest = text; !rest.empty();) {
        const ssize_t length = ::send(socket, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (length <= 0) return;
        rest.remove_prefix(static_cast<std::size_t>(length));
    }
}

}  // namespace

struct MetricsPage::Page {
    explicit Page(int port) : listener(listening_socket(port)) {}

    void serve() const {
        std::array<pollfd, 2> entries = {{{.fd = thread.stop_descriptor(), .events = POLLIN, .revents = 0},
                                          {.fd = listener.get(), .events = POLLIN, .revents = 0}}};
        for (;;) {
            if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
            if (entries[0].revents != 0) return;
            const Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!socket) continue;
            for (const int which : {SO_RCVTIMEO, SO_SNDTIMEO})
                static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, which, &kPatience, sizeof kPatience));
            const std::string request = request_from(socket.get());
            if (request.starts_with("GET /metrics ") || request.starts_with("GET /metrics?"))
                answer(socket.get(), "200 OK", prometheus::TextSerializer().Serialize(registry.Collect()));
            else
                answer(socket.get(), "404 Not Found", "the metrics are at /metrics\n");
        }
    }

    prometheus::Registry registry;
    std::vector<prometheus::Gauge*> gauges =  // of the columns, the registry's; null: never known so far
        std::vector<prometheus::Gauge*>(runtime::step_columns().size(), nullptr);
    Descriptor listener;
    ServiceThread thread;  // the last: ends first
};

MetricsPage::MetricsPage(int port) : page_(std::make_unique<Page>(port)) {
    if (!page_->listener)
        throw std::runtime_error(
            fmt::format("logging.prometheus_port = {}: the page of metrics cannot be served there ({}); training goes "
                        "on without it, state another port to have it",
                        port, std::strerror(errno)));
    page_->thread.start("smp metrics", [page = page_.get()] { page->serve(); });
}

MetricsPage::~MetricsPage() = default;

int MetricsPage::port() const { return port_of(page_->listener); }

void MetricsPage::stepped(const runtime::StepRecord& record) {
    const auto columns = runtime::step_columns();
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto value = value_of(columns[i], record);
        prometheus::Gauge*& gauge = page_->gauges[i];
        if (value && gauge == nullptr)
            gauge = &prometheus::BuildGauge()
                         .Name(fmt::format("smp_{}", columns[i].name))
                         .Help(std::string(columns[i].meaning))
                         .Register(page_->registry)
                         .Add({});
        if (gauge != nullptr) gauge->Set(value.value_or(std::numeric_limits<double>::quiet_NaN()));
    }
}

}  // namespace smp::launch
