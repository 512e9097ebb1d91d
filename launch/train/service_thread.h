// A thread beside the ranks that waits for what comes over sockets until its owner stops it.
#pragma once

#include <functional>
#include <thread>
#include <unistd.h>
#include <utility>

namespace smp::launch {

/// A file descriptor and its end.
class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int get() const { return number_; }
    explicit operator bool() const { return number_ >= 0; }

  private:
    int number_;
};

/// Listens for TCP on all IPv4 addresses of this host, without blocking. `port` 0: one that is free. Empty where the
/// system refuses, which errno tells.
Descriptor listening_socket(int port);
/// Of a socket of its own; 0: of none.
int port_of(const Descriptor& socket);

/// Takes no signals: those are the ranks' business.
class ServiceThread {
  public:
    ServiceThread();
    /// stop().
    ~ServiceThread() { stop(); }
    ServiceThread(const ServiceThread&) = delete;
    ServiceThread& operator=(const ServiceThread&) = delete;

    /// Once. `body` returns soon after stop_descriptor() has become readable. `name` has up to 15 characters.
    void start(const char* name, std::function<void()> body);
    int stop_descriptor() const { return stop_.get(); }
    /// Returns when `body` has.
    void stop();

  private:
    Descriptor stop_;
    std::thread thread_;
};

}  // namespace smp::launch
