// If these fail, Prometheus finds no metrics, wrong ones, or a text that it does not read.
#include "launch/train/metrics_page.h"

#include <array>
#include <netinet/in.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace smp::launch {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

/// What an HTTP client gets over the loopback.
std::string scraped(int port, const std::string& path = "/metrics") {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    EXPECT_EQ(::send(socket, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string answer;
    std::array<char, 4096> buffer;
    for (ssize_t length; (length = ::recv(socket, buffer.data(), buffer.size(), 0)) > 0;)
        answer.append(buffer.data(), static_cast<std::size_t>(length));
    ::close(socket);
    return answer;
}

TEST(MetricsPage, HasTheLastStepsNumbers) {
    MetricsPage page(0);
    EXPECT_THAT(scraped(page.port()), AllOf(HasSubstr("200 OK"), Not(HasSubstr("smp_loss"))));
    EXPECT_THAT(scraped(page.port(), "/other"), HasSubstr("404 Not Found"));
    runtime::StepRecord record;
    for (std::int64_t step = 1; step <= 2; ++step) {
        record.step = step;
        record.loss = 1.5 * static_cast<double>(step);
        record.tokens_per_second = 640;
        record.memory_bytes = 1 << 20;
        record.wait_seconds = 0.25;
        if (step == 1)
            record.validation_loss = 2.25;
        else
            record.validation_loss.reset();
        page.stepped(record);
        EXPECT_THAT(
            scraped(page.port()),
            AllOf(HasSubstr(fmt::format("\nsmp_step {}\n", step)),
                  HasSubstr(fmt::format("\nsmp_loss {}\n", record.loss)), HasSubstr("\nsmp_tokens_per_second 640\n"),
                  HasSubstr("\nsmp_memory_bytes 1048576\n"), HasSubstr("\nsmp_wait_seconds 0.25\n"),
                  ContainsRegex(step == 1 ? "\nsmp_validation_loss 2.25\n" : "\nsmp_validation_loss [Nn]a[Nn]\n"),
                  HasSubstr("# TYPE smp_loss gauge\n"), ContainsRegex("# HELP smp_loss [A-Z]"),
                  Not(HasSubstr("smp_mfu"))));
    }
}

TEST(MetricsPage, APortThatIsTakenIsASentence) {
    const MetricsPage first(0);
    EXPECT_THAT([&] { MetricsPage second(first.port()); },
                ::testing::ThrowsMessage<std::runtime_error>(
                    AllOf(HasSubstr(fmt::format("logging.prometheus_port = {}", first.port())),
                          HasSubstr("training goes on without it"))));
}

}  // namespace
}  // namespace smp::launch
