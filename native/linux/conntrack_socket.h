#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../core/conntrack.h"
#include "netlink_socket.h"

namespace nfqc {

/** Asks ctnetlink for confirmed flows, many in one call. */
class ConntrackSocket {
 public:
  static constexpr std::size_t kQuestions = 64;

  /** @throws Fault kPrivilege, kNoConntrack, kSystem */
  ConntrackSocket();

  /**
   * Asks by tuples of either direction, at most kQuestions. For each one that the kernel answers,
   * calls `answer(i, connection)`, with null if it knows none. Returns 0, or an errno if it could
   * not ask, or not all answers arrived.
   */
  template <typename Answer>
  [[nodiscard]] int ask(std::span<const Tuple> tuples, Answer&& answer) noexcept {
    int error = send(tuples);
    if (error != 0) return error;
    int datagrams = receive();
    if (datagrams < 0) {
      /* The error comes once, ahead of the answers that were not lost. If those stayed, the next
         answers would find no room, or be taken for those to an earlier question. */
      error = -datagrams;
      datagrams = receive();
    }
    for (int i = 0; i < datagrams; ++i) {
      Connection connection;
      const Answered answered = read(static_cast<std::size_t>(i), connection);
      if (answered.question >= tuples.size()) continue;
      answer(answered.question, answered.known ? &connection : nullptr);
    }
    return error;
  }

 private:
  static constexpr std::size_t kAnswerSize = 1024;
  static constexpr std::size_t kQuestionSize = 256;
  static constexpr std::size_t kNoIndex = SIZE_MAX;

  [[nodiscard]] int send(std::span<const Tuple> tuples) noexcept;
  /** How many datagrams, or -errno. */
  [[nodiscard]] int receive() noexcept;
  /** Which question a datagram answers, kNoIndex if none, and whether there is a connection. */
  struct Answered {
    std::size_t question;
    bool known;
  };
  [[nodiscard]] Answered read(std::size_t datagram, Connection& connection) const noexcept;
  /** Asks for a connection that does not exist, to find out whether asking is permitted. */
  void require_answers();

  MnlSocket socket_;
  std::array<unsigned char, kQuestions * kQuestionSize> questions_{};
  std::array<unsigned char, kQuestions * kAnswerSize> answers_{};
  std::array<iovec, kQuestions> vectors_{};
  std::array<mmsghdr, kQuestions> headers_{};
  std::uint32_t sequence_ = 0;  ///< of the first of the last questions
};

}  // namespace nfqc
