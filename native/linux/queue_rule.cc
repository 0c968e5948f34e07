#include "queue_rule.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "../core/byte_order.h"
#include "fault.h"
#include "netlink_socket.h"
#include "netns.h"

namespace nfqc {
namespace {

/** xt_NFQ_info_v3 is what this revision of NFQUEUE takes. */
constexpr std::uint32_t kRevision = 3;

enum class Commit : bool { kNo, kYes };

/** Messages of nf_tables that take effect together, or not at all. */
class Transaction {
 public:
  /** For a table of this family. */
  explicit Transaction(std::uint8_t family) : family_(family) {
    add(NFNL_MSG_BATCH_BEGIN, NFPROTO_UNSPEC, 0, NFNL_SUBSYS_NFTABLES);
  }

  /** The message, for its attributes; finished by the next one. */
  nlmsghdr* add(unsigned type, std::uint16_t flags) {
    return add(message_type(NFNL_SUBSYS_NFTABLES, type), family_, flags, 0);
  }

  /** Sends all of it: 0, or the errno of what the kernel refused. */
  [[nodiscard]] int send(Commit commit) {
    if (commit == Commit::kYes) add(NFNL_MSG_BATCH_END, NFPROTO_UNSPEC, 0, NFNL_SUBSYS_NFTABLES);
    finish();
    MnlSocket socket;
    if (const int error = open_socket(socket, SOCK_NONBLOCK); error != 0) return error;
    if (mnl_socket_sendto(socket.get(), bytes_.data(), used_) < 0) return errno;
    return answer(socket);
  }

 private:
  nlmsghdr* add(std::uint16_t type, std::uint8_t family, std::uint16_t flags,
                std::uint16_t resource) {
    finish();
    last_ = put_header(bytes_.data() + used_, type, flags, family, resource);
    return last_;
  }

  void finish() noexcept {
    if (last_ != nullptr) used_ += last_->nlmsg_len;
    last_ = nullptr;
  }

  /** The kernel answers within the call that sends, what it refused or what asked for an answer. */
  [[nodiscard]] static int answer(const MnlSocket& socket) {
    alignas(nlmsghdr) std::array<unsigned char, 4096> answers{};
    const ssize_t n = ::recv(mnl_socket_get_fd(socket.get()), answers.data(), answers.size(), 0);
    if (n < 0) return errno;
    int rest = static_cast<int>(n);
    auto* message = reinterpret_cast<nlmsghdr*>(answers.data());
    for (; mnl_nlmsg_ok(message, rest); message = mnl_nlmsg_next(message, &rest)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      const auto* said = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
      if (said->error != 0) return -said->error;
    }
    return 0;
  }

  std::uint8_t family_;
  alignas(nlmsghdr) std::array<unsigned char, 4096> bytes_{};  ///< four names and more
  std::size_t used_ = 0;
  nlmsghdr* last_ = nullptr;
};

void add_queue_rule(Transaction& transaction, const QueueRule& rule) {
  nlmsghdr* message = transaction.add(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, rule.table.c_str());
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, rule.chain.c_str());
  nlattr* expressions = mnl_attr_nest_start(message, NFTA_RULE_EXPRESSIONS);
  nlattr* expression = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  mnl_attr_put_strz(message, NFTA_EXPR_NAME, "target");
  nlattr* data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
  mnl_attr_put_strz(message, NFTA_TARGET_NAME, "NFQUEUE");
  mnl_attr_put_u32(message, NFTA_TARGET_REV, network_order(kRevision));
  const xt_NFQ_info_v3 info{
      .queuenum = static_cast<std::uint16_t>(rule.first_queue),
      .queues_total = static_cast<std::uint16_t>(rule.queues),
      .flags = static_cast<std::uint16_t>(rule.cpu_fanout ? NFQ_FLAG_CPU_FANOUT : 0),
  };
  /* XT_ALIGN: the kernel accepts it only with the padding. */
  std::array<unsigned char, (sizeof info + 7) / 8 * 8> padded{};
  std::memcpy(padded.data(), &info, sizeof info);
  mnl_attr_put(message, NFTA_TARGET_INFO, padded.size(), padded.data());
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, expression);
  mnl_attr_nest_end(message, expressions);
}

int set_once(const QueueRule& rule) {
  Transaction transaction(NFPROTO_INET);
  nlmsghdr* message =
      transaction.add(NFT_MSG_DELRULE, 0); /* without a handle: all of the chain's rules */
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, rule.table.c_str());
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, rule.chain.c_str());
  add_queue_rule(transaction, rule);
  return transaction.send(Commit::kYes);
}

int try_in(std::uint8_t family) {
  const QueueRule rule{.table = "nfq-cluster-probe", .chain = "probe"};
  Transaction transaction(family);
  nlmsghdr* message = transaction.add(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, rule.table.c_str());
  message = transaction.add(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, rule.table.c_str());
  mnl_attr_put_strz(message, NFTA_CHAIN_NAME, rule.chain.c_str());
  add_queue_rule(transaction, rule);
  return transaction.send(Commit::kNo);
}

int set_here(const QueueRule& rule) {
  const std::uint64_t end = rule.first_queue + std::uint64_t{rule.queues};
  if (rule.queues < 1 || rule.queues > UINT16_MAX || end > UINT16_MAX + 1) return EINVAL;
  if (rule.cpu_fanout && rule.queues == 1) return EINVAL;
  if (std::max(rule.table.size(), rule.chain.size()) >= NFT_NAME_MAXLEN) return ENAMETOOLONG;
  const int error = set_once(rule);
  return error == ENOENT && try_queue_rule() == 0 ? set_once(rule) : error;
}

}  // namespace

void set_queue_rule(const std::string& netns, const QueueRule& rule) {
  const int error = in_netns(netns, [&rule] { return set_here(rule); });
  if (error == 0) return;
  throw Fault(error == EPERM ? FaultKind::kPrivilege : FaultKind::kSystem, "sendto", error,
              "cannot set NFQUEUE in the chain " + rule.chain + " of the table inet " + rule.table);
}

int try_queue_rule() {
  const int error = try_in(NFPROTO_INET);
  if (error != ENOENT) return error;
  /* The kernel looks for the module of NFQUEUE only for a table of family ip, not of inet. */
  static_cast<void>(try_in(NFPROTO_IPV4));
  return try_in(NFPROTO_INET);
}

}  // namespace nfqc
