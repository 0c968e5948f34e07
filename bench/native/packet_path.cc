/*
 * What the engine does with a batch of packets between its two system calls, over and over, on
 * messages such as the kernel sends. Under callgrind, whose --toggle-collect names decide_batch(),
 * it gives the instructions a packet costs: packet_path BATCHES
 */
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/counters.h"
#include "core/decided_batch.h"
#include "core/packet.h"

namespace {

using Bytes = std::vector<unsigned char>;

void append(Bytes& bytes, const void* data, std::size_t length) {
  const auto* from = static_cast<const unsigned char*>(data);
  bytes.insert(bytes.end(), from, from + length);
  bytes.resize((bytes.size() + 3) / 4 * 4);
}

void attribute(Bytes& message, std::uint16_t type, const void* data, std::size_t length) {
  const nlattr header{static_cast<std::uint16_t>(NLA_HDRLEN + length), type};
  append(message, &header, sizeof header);
  append(message, data, length);
}

/** A UDP packet that came by interface 2, from the indexth address of 10.0.0.0/8. */
Bytes packet_message(std::uint32_t index) {
  Bytes message(NLMSG_HDRLEN + sizeof(nfgenmsg));
  const nfqnl_msg_packet_hdr packet{__builtin_bswap32(index), __builtin_bswap16(0x0800), 0};
  attribute(message, NFQA_PACKET_HDR, &packet, 7);
  const std::uint32_t ifindex = __builtin_bswap32(2);
  attribute(message, NFQA_IFINDEX_INDEV, &ifindex, 4);
  const std::array<unsigned char, 12> mac{};
  attribute(message, NFQA_HWADDR, mac.data(), mac.size());
  std::array<unsigned char, nfqc::copy_range(nfqc::DecisionConfig{})> ip{0x45};
  const std::uint32_t source = __builtin_bswap32(0x0a000000 + index * 2654435761U % 0x1000000);
  std::memcpy(&ip[12], &source, 4);
  attribute(message, NFQA_PAYLOAD, ip.data(), ip.size());
  const nlmsghdr header{static_cast<std::uint32_t>(message.size()),
                        (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET, 0, 0, 0};
  std::memcpy(message.data(), &header, sizeof header);
  return message;
}

struct State {
  nfqc::DecisionConfig config;
  nfqc::OwnershipInForce ownership{nfqc::Ownership{}, 1};
  std::vector<std::uint64_t> slots = std::vector<std::uint64_t>(nfqc::kCounterStride);
  nfqc::Counters counters{slots.data()};
  nfqc::DecidedBatch batch{config, ownership, counters};
};

}  // namespace

extern "C" __attribute__((noinline)) std::size_t decide_batch(State& state,
                                                              const std::vector<Bytes>& messages) {
  for (const Bytes& bytes : messages) {
    const nfqc::Message message = nfqc::parse_message(bytes.data(), bytes.size());
    state.batch.add(message.packet, {}, 1);
  }
  const std::size_t sent = state.batch.encode(0).size();
  state.batch.answered(1000);
  return sent;
}

int main(int argc, char** argv) {
  const int batches = argc == 2 ? std::atoi(argv[1]) : 0;
  if (batches < 1) return 2;
  std::vector<Bytes> messages;
  for (std::uint32_t i = 0; i < nfqc::VerdictBatch::kCapacity; ++i) {
    messages.push_back(packet_message(i));
  }
  nfqc::Ownership owned;
  owned.add(0);
  State state;
  state.ownership = nfqc::OwnershipInForce(owned, 1);
  state.config.hashing = {nfqc::Policy::kJhash, 0xdeadbeef, 2};
  state.config.interfaces[0] = {2, nfqc::KeyField::kSource};
  state.config.interface_count = 1;
  std::size_t sent = 0;
  for (int i = 0; i < batches; ++i) sent += decide_batch(state, messages);
  std::printf("%zu packets, %zu bytes of verdicts\n",
              static_cast<std::size_t>(batches) * messages.size(), sent);
  return 0;
}
