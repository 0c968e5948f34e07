/*
 * Sends link-layer frames through a packet socket, as they are, and prints how many it sent.
 *
 *   inject INTERFACE [RATE]
 *
 * Standard input: any number of frames, each behind its length as 16 bits in network order. RATE is
 * in frames per second; without it they go as fast as the interface takes them.
 */
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "linux/descriptor.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatch = 64;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::vector<char> read_input() {
  std::vector<char> bytes;
  std::array<char, 65536> chunk{};
  while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), stdin)) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
  }
  return bytes;
}

/** The frames within the input, which they point into. */
std::vector<iovec> split(std::vector<char>& input) {
  std::vector<iovec> frames;
  for (std::size_t at = 0; at < input.size();) {
    const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(input[index]); };
    if (input.size() - at < 2) throw std::runtime_error("half a length at the end of the input");
    const std::size_t length = static_cast<std::size_t>(byte(at)) << 8 | byte(at + 1);
    at += 2;
    if (input.size() - at < length)
      throw std::runtime_error("half a frame at the end of the input");
    frames.push_back({input.data() + at, length});
    at += length;
  }
  return frames;
}

nfqc::Descriptor open_socket(const char* interface) {
  nfqc::Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface));
  if (address.sll_ifindex == 0) fail(interface);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("bind");
  return socket;
}

/** Sends at least one of `count` frames, and says how many; the interface's queue may be full for a
 * while. */
std::size_t send_some(int socket, iovec* frames, std::size_t count) {
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < count; ++i) {
    messages[i].msg_hdr.msg_iov = &frames[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  for (;;) {
    const int sent = ::sendmmsg(socket, messages.data(), static_cast<unsigned>(count), 0);
    if (sent > 0) return static_cast<std::size_t>(sent);
    if (errno != ENOBUFS && errno != EINTR) fail("sendmmsg");
    std::this_thread::yield();
  }
}

void send_all(int socket, std::vector<iovec>& frames, double rate) {
  const auto start = Clock::now();
  for (std::size_t sent = 0; sent < frames.size();) {
    std::size_t count = std::min(kBatch, frames.size() - sent);
    if (rate > 0) {
      const std::chrono::duration<double> due(static_cast<double>(sent) / rate);
      std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(due));
      count = 1;
    }
    sent += send_some(socket, &frames[sent], count);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 2) throw std::runtime_error("expected an interface, see the top of inject.cc");
    const double rate = argc > 2 ? std::strtod(argv[2], nullptr) : 0;
    const nfqc::Descriptor socket = open_socket(argv[1]);
    std::vector<char> input = read_input();
    std::vector<iovec> frames = split(input);
    send_all(socket.get(), frames, rate);
    std::printf("%zu\n", frames.size());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inject: %s\n", error.what());
    return 1;
  }
}
