/* Any datagram: every message in it is read and decided within its bounds, and the walk ends. */
#include <linux/netfilter.h>

#include <cstdlib>

#include "core/decide.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/** Reads one message and decides it; returns the bytes to the next one. */
std::size_t take(const unsigned char* bytes, std::size_t length) {
  const nfqc::Message message = nfqc::parse_message(bytes, length);
  const nfqc::Packet& packet = message.packet;
  require(message.length < length || message.length == 0);
  require(packet.payload_length == 0 ||
          (packet.payload >= bytes && packet.payload + packet.payload_length <= bytes + length));
  require(message.kind != nfqc::MessageKind::kPacket || message.has_id);
  nfqc::DecisionConfig config{
      .hashing = {(packet.id & 4) != 0 ? nfqc::Policy::kClusterip : nfqc::Policy::kJhash, 1, 1023,
                  static_cast<nfqc::HashMode>(1 + packet.id % 3)},
      .action = (packet.id & 1) != 0 ? nfqc::Action::kMark : nfqc::Action::kDrop,
      .marks = {0x0f, 0xff, 0x4000'0000, 0x8000'0000}};
  config.interfaces[0] = {packet.ifindex_in, (packet.id & 2) != 0 ? nfqc::KeyField::kSource
                                                                  : nfqc::KeyField::kDestination};
  config.interface_count = 1;
  const nfqc::Decision decision = nfqc::decide(config, {}, 0, packet);
  require(decision.bucket < 1023 || decision.outcome == nfqc::Outcome::kMalformed);
  require((decision.verdict == NF_DROP) == (config.action == nfqc::Action::kDrop));
  require((decision.mark & 0x3fff'ff00) == (packet.mark & 0x3fff'ff00));
  return message.length;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t length) {
  for (std::size_t step = take(bytes, length); step != 0; step = take(bytes, length)) {
    bytes += step;
    length -= step;
  }
  return 0;
}
