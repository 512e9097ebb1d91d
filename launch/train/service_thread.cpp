#include "launch/train/service_thread.h"

#include <csignal>
#include <cstdint>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace smp::launch {

Descriptor listening_socket(int port) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return socket;
    const int yes = 1;  // a run that follows another does not wait for that one's connections to be forgotten
    static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
        ::listen(socket.get(), SOMAXCONN) != 0)
        return Descriptor();
    return socket;
}

int port_of(const Descriptor& socket) {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    if (!socket || ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return 0;
    return ntohs(own.sin_port);
}

ServiceThread::ServiceThread() : stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void ServiceThread::start(const char* name, std::function<void()> body) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([name, body = std::move(body)] {
        ::pthread_setname_np(::pthread_self(), name);
        body();
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ServiceThread::stop() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    thread_.join();
}

}  // namespace smp::launch
