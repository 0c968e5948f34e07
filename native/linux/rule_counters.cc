#include "rule_counters.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "../core/attributes.h"
#include "../core/byte_order.h"
#include "fault.h"

namespace nfqc {
namespace {

/** The packets in a message about a counter; empty if it is another message. */
std::optional<std::uint64_t> packets_in(const unsigned char* bytes, std::size_t length) noexcept {
  if (length < kHeaders) return std::nullopt;
  const std::size_t size = load<std::uint32_t>(bytes);
  if (size < kHeaders || size > length) return std::nullopt;
  if (load<std::uint16_t>(bytes + 4) != message_type(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWOBJ)) {
    return std::nullopt;
  }
  std::optional<std::uint64_t> packets;
  for_each_attribute(bytes + kHeaders, size - kHeaders, [&packets](const Attribute& attribute) {
    if (attribute.type != NFTA_OBJ_DATA) return true;
    return for_each_attribute(attribute.value, attribute.length, [&packets](const Attribute& data) {
      if (data.type == NFTA_COUNTER_PACKETS && data.length == 8) {
        packets = network_order(load<std::uint64_t>(data.value));
      }
      return true;
    });
  });
  return packets;
}

}  // namespace

RuleCounters::RuleCounters(std::string table) : table_(std::move(table)) {
  if (const int error = open_socket(socket_, SOCK_NONBLOCK); error != 0) {
    throw Fault(FaultKind::kSystem, "socket", error, "cannot ask the kernel for counters");
  }
  owned_.before = read(owned_.name).value_or(0);
  foreign_.before = read(foreign_.name).value_or(0);
}

std::uint64_t RuleCounters::owned() { return growth(owned_); }

std::uint64_t RuleCounters::foreign() { return growth(foreign_); }

std::uint64_t RuleCounters::growth(Count& count) {
  const std::lock_guard lock(mutex_);
  if (const std::optional<std::uint64_t> packets = read(count.name)) {
    /* Fewer than before: the table was made anew. */
    if (*packets < count.before) count.before = 0;
    count.now = *packets - count.before;
  }
  return count.now;
}

std::optional<std::uint64_t> RuleCounters::read(const char* name) {
  alignas(nlmsghdr) std::array<unsigned char, 256> question{};
  nlmsghdr* message = put_header(
      question.data(), message_type(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETOBJ), 0, NFPROTO_INET);
  mnl_attr_put_strz(message, NFTA_OBJ_TABLE, table_.c_str());
  mnl_attr_put_strz(message, NFTA_OBJ_NAME, name);
  mnl_attr_put_u32(message, NFTA_OBJ_TYPE, network_order(std::uint32_t{NFT_OBJECT_COUNTER}));
  if (mnl_socket_sendto(socket_.get(), message, message->nlmsg_len) < 0) return std::nullopt;
  /* The kernel answers within the call that asks. */
  alignas(nlmsghdr) std::array<unsigned char, 1024> answer{};
  const ssize_t n = ::recv(mnl_socket_get_fd(socket_.get()), answer.data(), answer.size(), 0);
  return n < 0 ? std::nullopt : packets_in(answer.data(), static_cast<std::size_t>(n));
}

}  // namespace nfqc
