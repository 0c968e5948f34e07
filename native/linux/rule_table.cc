#include "rule_table.h"

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

/** The kernel's answer: a message of a type, or an errno; all 0 if it is neither. */
struct Answer {
  int error = 0;
  std::uint16_t type = 0;
  const unsigned char* attributes = nullptr;
  std::size_t length = 0;
};

Answer parse_answer(const unsigned char* bytes, std::size_t length) noexcept {
  if (length < kHeaders) return {};
  const std::size_t size = load<std::uint32_t>(bytes);
  if (size < kHeaders || size > length) return {};
  const auto type = load<std::uint16_t>(bytes + 4);
  if (type == NLMSG_ERROR) return {.error = -load<std::int32_t>(bytes + NLMSG_HDRLEN)};
  return {.type = type, .attributes = bytes + kHeaders, .length = size - kHeaders};
}

/** A request for one object of a table, and room for the answer. */
class Question {
 public:
  Question(unsigned type, const std::string& table)
      : header_(put_header(question_.data(), message_type(NFNL_SUBSYS_NFTABLES, type), 0,
                           NFPROTO_INET)) {
    put(kTable, table.c_str());
  }

  /* Without what does not fit, the kernel refuses to answer: there is nothing of such a name. */
  void put(std::uint16_t attribute, const char* name) noexcept {
    static_cast<void>(mnl_attr_put_strz_check(header_, question_.size(), attribute, name));
  }
  void put(std::uint16_t attribute, std::uint32_t number) noexcept {
    static_cast<void>(
        mnl_attr_put_u32_check(header_, question_.size(), attribute, network_order(number)));
  }

  /** The kernel answers within the call that asks. */
  [[nodiscard]] Answer ask(const MnlSocket& socket) noexcept {
    if (mnl_socket_sendto(socket.get(), header_, header_->nlmsg_len) < 0) return {};
    const ssize_t n = ::recv(mnl_socket_get_fd(socket.get()), answer_.data(), answer_.size(), 0);
    return n < 0 ? Answer{} : parse_answer(answer_.data(), static_cast<std::size_t>(n));
  }

 private:
  /* The table's name is the first attribute of every object. */
  static constexpr std::uint16_t kTable = NFTA_OBJ_TABLE;
  static_assert(kTable == NFTA_CHAIN_TABLE && kTable == NFTA_TABLE_NAME);

  alignas(nlmsghdr) std::array<unsigned char, 1024> question_{};
  alignas(nlmsghdr) std::array<unsigned char, 1024> answer_{};
  nlmsghdr* header_;
};

/** The packet count in an answer about a counter. */
std::optional<std::uint64_t> packets_in(const Answer& answer) noexcept {
  std::optional<std::uint64_t> packets;
  for_each_attribute(answer.attributes, answer.length, [&packets](const Attribute& attribute) {
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

/** The number of a chain's rules, and of those that jump to it. */
std::uint32_t use_in(const Answer& answer) noexcept {
  std::uint32_t use = 0;
  for_each_attribute(answer.attributes, answer.length, [&use](const Attribute& attribute) {
    if (attribute.type == NFTA_CHAIN_USE && attribute.length == 4) {
      use = network_order(load<std::uint32_t>(attribute.value));
    }
    return true;
  });
  return use;
}

}  // namespace

RuleTable::RuleTable(std::string table) : table_(std::move(table)) {
  if (const int error = open_socket(socket_, SOCK_NONBLOCK); error != 0) {
    throw Fault(FaultKind::kSystem, "socket", error, "cannot ask the kernel for rules");
  }
  owned_.last = read(owned_.name).value_or(0);
  foreign_.last = read(foreign_.name).value_or(0);
}

std::uint64_t RuleTable::owned() { return growth(owned_); }

std::uint64_t RuleTable::foreign() { return growth(foreign_); }

std::uint64_t RuleTable::growth(Count& count) {
  if (const std::optional<std::uint64_t> packets = read(count.name)) {
    /* Fewer than before: the table was recreated, or somebody has reset its counters. */
    if (*packets < count.last) count.last = 0;
    count.now += *packets - count.last;
    count.last = *packets;
  }
  return count.now;
}

std::optional<std::uint64_t> RuleTable::read(const char* name) {
  Question question(NFT_MSG_GETOBJ, table_);
  question.put(NFTA_OBJ_NAME, name);
  question.put(NFTA_OBJ_TYPE, std::uint32_t{NFT_OBJECT_COUNTER});
  const Answer answer = question.ask(socket_);
  if (answer.type != message_type(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWOBJ)) return std::nullopt;
  return packets_in(answer);
}

std::optional<bool> RuleTable::has_chain(const char* name, bool with_rules) {
  Question question(NFT_MSG_GETCHAIN, table_);
  question.put(NFTA_CHAIN_NAME, name);
  const Answer answer = question.ask(socket_);
  if (answer.error == ENOENT) return false;
  if (answer.type != message_type(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN)) return std::nullopt;
  return !with_rules || use_in(answer) > 0;
}

std::optional<std::uint64_t> RuleTable::handle() {
  Question question(NFT_MSG_GETTABLE, table_);
  const Answer answer = question.ask(socket_);
  if (answer.type != message_type(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWTABLE)) return std::nullopt;
  std::optional<std::uint64_t> handle;
  for_each_attribute(answer.attributes, answer.length, [&handle](const Attribute& attribute) {
    if (attribute.type == NFTA_TABLE_HANDLE && attribute.length == 8) {
      handle = network_order(load<std::uint64_t>(attribute.value));
    }
    return true;
  });
  return handle;
}

}  // namespace nfqc
