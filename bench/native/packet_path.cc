/*
 * What the engine does with a batch of packets between its two system calls, over and over, on
 * messages such as the kernel sends. Under callgrind, whose --toggle-collect names decide_batch(),
 * it gives the instructions a packet costs:
 *
 *   packet_path stateless|followed BATCHES BUCKETS OWNED SOURCES
 *
 * `followed`: connections are, and the rules have marked the packet as one whose own source is the
 * key, so that none is looked up. Most packets are, where the queue's messages carry no connection.
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

/** The bit of the mark that says so, as the rules set it by default. */
constexpr std::uint32_t kDirect = 0x20000000;

nfqc::DecisionConfig stateless() {
  nfqc::DecisionConfig config;
  config.interfaces[0] = {2, nfqc::KeyField::kSource};
  config.interface_count = 1;
  return config;
}

nfqc::DecisionConfig followed() {
  nfqc::DecisionConfig config = stateless();
  config.connections = nfqc::Connections::kLookup;
  config.marks.direct = kDirect;
  return config;
}

/** A UDP packet that came by interface 2, as much of it as a decision needs. */
Bytes packet_message(const nfqc::DecisionConfig& config, std::uint32_t index) {
  Bytes message(NLMSG_HDRLEN + sizeof(nfgenmsg));
  const nfqnl_msg_packet_hdr packet{__builtin_bswap32(index), __builtin_bswap16(0x0800), 0};
  attribute(message, NFQA_PACKET_HDR, &packet, 7);
  const std::uint32_t ifindex = __builtin_bswap32(2);
  attribute(message, NFQA_IFINDEX_INDEV, &ifindex, 4);
  const std::uint32_t mark = __builtin_bswap32(config.marks.direct);
  if (mark != 0) attribute(message, NFQA_MARK, &mark, 4);
  const std::array<unsigned char, 12> mac{};
  attribute(message, NFQA_HWADDR, mac.data(), mac.size());
  Bytes ip(nfqc::copy_range(config));
  ip[0] = 0x45;
  attribute(message, NFQA_PAYLOAD, ip.data(), ip.size());
  const nlmsghdr header{static_cast<std::uint32_t>(message.size()),
                        (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET, 0, 0, 0};
  std::memcpy(message.data(), &header, sizeof header);
  return message;
}

/** Lets a message's packet, its last attribute, come from the nth address of 10.0.0.0/8. */
void come_from(const nfqc::DecisionConfig& config, Bytes& message, std::uint32_t nth) {
  const std::uint32_t source = __builtin_bswap32(0x0a000000 + nth);
  std::memcpy(&message[message.size() - nfqc::copy_range(config) + 12], &source, 4);
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
  if (argc != 6) return 2;
  const bool follows = std::strcmp(argv[1], "followed") == 0;
  if (!follows && std::strcmp(argv[1], "stateless") != 0) return 2;
  const auto number = [argv](int index) {
    return static_cast<std::uint32_t>(std::strtoul(argv[index], nullptr, 10));
  };
  const std::uint32_t batches = number(2);
  const std::uint32_t buckets = number(3);
  const std::uint32_t sources = number(5);
  State state;
  state.config = follows ? followed() : stateless();
  state.config.hashing = {nfqc::Policy::kJhash, 0xdeadbeef, buckets};
  std::vector<Bytes> messages;
  for (std::uint32_t i = 0; i < nfqc::VerdictBatch::kCapacity; ++i) {
    messages.push_back(packet_message(state.config, i));
  }
  nfqc::Ownership owned;
  for (std::uint32_t bucket = 0; bucket < number(4); ++bucket) owned.add(bucket);
  state.ownership = nfqc::OwnershipInForce(owned, 1);
  std::size_t sent = 0;
  std::uint32_t packet = 0;
  for (std::uint32_t i = 0; i < batches; ++i) {
    for (Bytes& message : messages)
      come_from(state.config, message, packet++ * 2654435761U % sources);
    sent += decide_batch(state, messages);
  }
  std::printf("%u packets, %zu bytes of verdicts\n", packet, sent);
  return 0;
}
