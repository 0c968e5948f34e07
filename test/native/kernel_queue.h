#pragma once

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace nfqc::test {

/**
 * What the kernel does with verdict messages, as nfnetlink_queue.c has it: VERDICT answers one held
 * packet, VERDICT_BATCH every held packet from the oldest up to its id, compared by the sign of
 * the 32-bit difference.
 */
class KernelQueue {
 public:
  struct Answer {
    std::uint32_t id;
    std::uint32_t verdict;
    std::uint32_t mark;  ///< of the packet as it leaves
  };

  explicit KernelQueue(std::uint16_t number) : number_(number) {}

  void hold(std::uint32_t id, std::uint32_t mark) { held_.push_back({id, 0, mark}); }

  /** Takes what one send brings. @throws std::runtime_error where it is no row of messages. */
  void receive(std::span<const unsigned char> bytes) {
    while (!bytes.empty()) {
      const auto length = load<std::uint32_t>(bytes, 0);
      if (length < 20 || length > bytes.size()) throw std::runtime_error("message length");
      take(bytes.first(length));
      bytes = bytes.subspan(std::min<std::size_t>(NLMSG_ALIGN(length), bytes.size()));
      ++messages_;
    }
  }

  /** In the order in which the packets went on or were dropped. */
  [[nodiscard]] const std::vector<Answer>& answers() const { return answers_; }
  [[nodiscard]] const std::deque<Answer>& held() const { return held_; }
  /** What the kernel would report, as errno. */
  [[nodiscard]] const std::vector<int>& errors() const { return errors_; }
  [[nodiscard]] std::size_t messages() const { return messages_; }

 private:
  struct Request {
    std::optional<std::uint32_t> verdict;
    std::uint32_t id = 0;
    std::optional<std::uint32_t> mark;
  };

  template <typename T>
  static T load(std::span<const unsigned char> bytes, std::size_t at) {
    T value{};
    if (at + sizeof value > bytes.size()) throw std::runtime_error("cut short");
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  static std::uint32_t be32(std::span<const unsigned char> bytes, std::size_t at) {
    return __builtin_bswap32(load<std::uint32_t>(bytes, at));
  }

  void take(std::span<const unsigned char> message) {
    const auto type = load<std::uint16_t>(message, 4);
    if (type >> 8 != NFNL_SUBSYS_QUEUE) throw std::runtime_error("subsystem");
    if (load<std::uint16_t>(message, 6) != NLM_F_REQUEST) throw std::runtime_error("flags");
    if (message[17] != NFNETLINK_V0) throw std::runtime_error("version");
    if ((message[18] << 8 | message[19]) != number_) throw std::runtime_error("queue number");
    const Request request = attributes(message.subspan(20));
    if (!request.verdict) throw std::runtime_error("no verdict");
    switch (type & 0xff) {
      case NFQNL_MSG_VERDICT: return verdict(request);
      case NFQNL_MSG_VERDICT_BATCH: return verdict_batch(request);
      default: throw std::runtime_error("message type");
    }
  }

  static Request attributes(std::span<const unsigned char> bytes) {
    Request request;
    while (!bytes.empty()) {
      const auto size = load<std::uint16_t>(bytes, 0);
      switch (load<std::uint16_t>(bytes, 2)) {
        case NFQA_VERDICT_HDR:
          if (size != 12) throw std::runtime_error("verdict header");
          request.verdict = be32(bytes, 4);
          request.id = be32(bytes, 8);
          break;
        case NFQA_MARK:
          if (size != 8) throw std::runtime_error("mark");
          request.mark = be32(bytes, 4);
          break;
        default: throw std::runtime_error("attribute");
      }
      bytes = bytes.subspan(size);
    }
    return request;
  }

  void verdict(const Request& request) {
    const auto found = std::find_if(held_.begin(), held_.end(),
                                    [&](const Answer& packet) { return packet.id == request.id; });
    if (found == held_.end()) return errors_.push_back(ENOENT);
    const Answer packet = *found;
    held_.erase(found);
    answer(packet, request);
  }

  void verdict_batch(const Request& request) {
    bool any = false;
    while (!held_.empty() && static_cast<std::int32_t>(held_.front().id - request.id) <= 0) {
      const Answer packet = held_.front();
      held_.pop_front();
      answer(packet, request);
      any = true;
    }
    if (!any) errors_.push_back(ENOENT);
  }

  void answer(const Answer& packet, const Request& request) {
    answers_.push_back({packet.id, *request.verdict, request.mark.value_or(packet.mark)});
  }

  std::uint16_t number_;
  std::deque<Answer> held_;
  std::vector<Answer> answers_;
  std::vector<int> errors_;
  std::size_t messages_ = 0;
};

}  // namespace nfqc::test
