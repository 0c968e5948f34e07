#include "rule_counters.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "../core/attributes.h"
#include "../core/byte_order.h"
#include "fault.h"

namespace nfqc {
namespace {

constexpr std::size_t kHeaders = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
constexpr std::uint16_t message_type(unsigned type) noexcept {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
}

MnlSocket open_socket() {
  MnlSocket socket(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
    throw Fault(FaultKind::kSystem, "socket", errno, "cannot ask the kernel for counters");
  }
  return socket;
}

/** The packets in a message about a counter; empty if it is another message. */
std::optional<std::uint64_t> packets_in(const unsigned char* bytes, std::size_t length) noexcept {
  if (length < kHeaders) return std::nullopt;
  const std::size_t size = load<std::uint32_t>(bytes);
  if (size < kHeaders || size > length) return std::nullopt;
  if (load<std::uint16_t>(bytes + 4) != message_type(NFT_MSG_NEWOBJ)) return std::nullopt;
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

RuleCounters::RuleCounters(std::string table) : table_(std::move(table)), socket_(open_socket()) {
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
  nlmsghdr* message = mnl_nlmsg_put_header(question.data());
  message->nlmsg_type = message_type(NFT_MSG_GETOBJ);
  message->nlmsg_flags = NLM_F_REQUEST;
  auto* netfilter = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  netfilter->nfgen_family = NFPROTO_INET;
  netfilter->version = NFNETLINK_V0;
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
