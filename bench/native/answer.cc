/*
 * Answers every datagram that comes for a UDP port of an address by an empty one, so that the
 * connections they belong to are established. It comes before a program that has the port of every
 * address, and ends with the end of its input: answer ADDRESS PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

constexpr int kReceiveBuffer = 16 * 1024 * 1024;

/** A socket for the port of an IPv6 address, or of an IPv4 address as sockets of IPv6 have it. */
int open_socket(const std::string& address, std::uint16_t port) {
  const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  sockaddr_in6 own{};
  own.sin6_family = AF_INET6;
  own.sin6_port = htons(port);
  const bool ipv4 = address.find(':') == std::string::npos;
  const std::string mapped = (ipv4 ? "::ffff:" : "") + address;
  if (fd < 0 || ::inet_pton(AF_INET6, mapped.c_str(), &own.sin6_addr) != 1 ||
      ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0 ||
      ::bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) {
    return -1;
  }
  return fd;
}

void answer_all(int fd) {
  for (;;) {
    sockaddr_in6 from{};
    socklen_t length = sizeof from;
    auto* address = reinterpret_cast<sockaddr*>(&from);
    if (::recvfrom(fd, nullptr, 0, 0, address, &length) < 0) return;
    ::sendto(fd, nullptr, 0, 0, address, length);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int fd =
      argc == 3 ? open_socket(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2]))) : -1;
  if (fd < 0) {
    std::perror("answer");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  pollfd descriptors[] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (descriptors[1].revents == 0 && ::poll(descriptors, 2, -1) >= 0) answer_all(fd);
  return 0;
}
