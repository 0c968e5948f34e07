#pragma once

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "netlink_socket.h"
#include "unforked.h"

namespace nfqc {

/** Whether the same call may succeed the next time. */
[[nodiscard]] constexpr bool is_transient(int error) noexcept {
  return error == EINTR || error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

struct QueueSocketConfig {
  std::uint16_t queue = 0;
  std::uint32_t queue_length = 0;    ///< packets that the kernel holds
  std::uint32_t receive_buffer = 0;  ///< bytes asked for
};

/**
 * A netlink socket that listens on one queue. Closing it makes the kernel drop all packets that
 * still wait for a verdict.
 */
class QueueSocket {
 public:
  static constexpr std::size_t kMessages = 64;
  static constexpr std::size_t kMessageSize = 1024;

  /**
   * Binds the queue and sets it up; no packet arrives before start().
   * @throws Fault kPrivilege, kQueueTaken, kNoNfqueue, kSystem
   */
  explicit QueueSocket(const QueueSocketConfig& config);

  /**
   * Asks for the connection in each message. False if the kernel cannot attach it.
   * @throws Fault kSystem
   */
  [[nodiscard]] bool attach_connections();

  /**
   * Asks the kernel for packets, with `copy_range` bytes of each. It confirms with an error message
   * of code 0 and kStartSequence, which may come after the first packets.
   */
  void start(std::uint32_t copy_range);
  static constexpr std::uint32_t kStartSequence = 0x51;

  /** From now on a receive() that waits returns -EAGAIN after so long without a datagram. */
  void wait_at_most(std::chrono::microseconds time) const;

  /** Bytes of receive buffer that the kernel granted, its bookkeeping included. */
  [[nodiscard]] std::uint32_t receive_buffer() const;

  /** One datagram of the last receive(). */
  struct Datagram {
    const unsigned char* bytes;
    std::size_t length;
  };

  enum class Wait : std::uint8_t { kNo, kYes };

  /** Takes what is there, up to kMessages datagrams: their count, or -errno. */
  [[nodiscard]] int receive(Wait wait) noexcept;

  /**
   * Ends a receive() that waits, or the next one: the kernel answers with an error message of
   * kWakeSequence. May be called from any thread.
   */
  void wake() noexcept;
  static constexpr std::uint32_t kWakeSequence = 0x52;

  [[nodiscard]] Datagram datagram(std::size_t index) const noexcept {
    return {buffer_.data() + index * kMessageSize, headers_[index].msg_len};
  }

  /** Sends in one call, which is repeated a few times on a transient error: 0, or an errno. */
  [[nodiscard]] int send(std::span<const unsigned char> bytes) noexcept;

 private:
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] int send_once(std::span<const unsigned char> bytes) noexcept;
  void bind_queue();
  /** Sends a configuration message and waits for the kernel's answer: 0, or an errno. */
  [[nodiscard]] int request(nlmsghdr* message);
  [[nodiscard]] int set_flag(std::uint32_t flag);

  std::uint16_t queue_;
  MnlSocket socket_;
  std::vector<unsigned char, UnforkedAllocator<unsigned char>> buffer_;
  std::array<iovec, kMessages> vectors_{};
  std::array<mmsghdr, kMessages> headers_{};
};

}  // namespace nfqc
