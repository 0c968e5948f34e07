#include "connmarks.h"

#include <libmnl/libmnl.h>
#include <linux/in.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <bit>
#include <cerrno>

#include "../core/attributes.h"
#include "../core/byte_order.h"
#include "../core/related_flows.h"
#include "ctnetlink.h"

namespace nfqc {
namespace {

void take_zone(const Attribute& attribute, std::uint16_t& zone) noexcept {
  if (attribute.length == 2) zone = network_order(load<std::uint16_t>(attribute.value));
}

/** Reads a message of the kernel's list of flows; false if it cannot be. */
bool parse_flow(const unsigned char* listed, std::size_t length, ListedFlow& flow) {
  const unsigned char* attributes = listed + kHeaders;
  for_each_attribute(attributes, length - kHeaders, [&flow](const Attribute& attribute) {
    if (attribute.type == CTA_ZONE) take_zone(attribute, flow.zone);
    if (attribute.type != CTA_TUPLE_ORIG) return true;
    /* The zone is in here if it applies to one direction only. */
    return for_each_attribute(attribute.value, attribute.length, [&flow](const Attribute& nested) {
      if (nested.type == CTA_TUPLE_ZONE) take_zone(nested, flow.zone);
      return true;
    });
  });
  return parse_connection(attributes, length - kHeaders, flow.connection);
}

/** If a flow's connmark has any of these bits, has the kernel set them to this key's bucket plus 1.
 */
void renew_connmark(mnl_socket* socket, const ListedFlow& flow, const Key& key, std::uint32_t mask,
                    const Hashing& hashing) {
  const auto& [original, master, mark] = flow.connection;
  /* IGMP is every node's own. */
  const std::uint32_t bucket = original.protocol == IPPROTO_IGMP ? 0 : hashing.bucket(key) + 1;
  const std::uint32_t renewed = bucket << std::countr_zero(mask) & mask;
  if ((mark & mask) == 0 || (mark & mask) == renewed) return;
  alignas(nlmsghdr) std::array<unsigned char, 512> order{};
  nlmsghdr* message = put_flow(order.data(), IPCTNL_MSG_CT_NEW, original);
  if (flow.zone != 0) mnl_attr_put_u16(message, CTA_ZONE, network_order(flow.zone));
  mnl_attr_put_u32(message, CTA_MARK, network_order(renewed));
  mnl_attr_put_u32(message, CTA_MARK_MASK, network_order(mask));
  if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0) {
    throw conntrack_fault("sendto", errno);
  }
}

void renew_all(mnl_socket* orders, std::uint32_t mask, const Hashing& hashing) {
  RelatedFlows related; /* whose masters may be listed after them */
  list_all(message_type(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET),
           [&](const unsigned char* bytes, std::size_t length) {
             for_each_message(bytes, length, [&](const unsigned char* listed, std::size_t size) {
               ListedFlow flow;
               if (!parse_flow(listed, size, flow)) return;
               if (flow.connection.master.valid()) return related.add(flow);
               renew_connmark(orders, flow, flow.connection.original.source, mask, hashing);
             });
           });
  for (const ListedFlow& flow : related) {
    renew_connmark(orders, flow, related.root_source(flow), mask, hashing);
  }
}

}  // namespace

void renew_connmarks(std::uint32_t mask, const Hashing& hashing) {
  /* On this socket the kernel reports flows that have ended meanwhile, which does not matter. */
  const MnlSocket orders = open_conntrack_socket();
  renew_all(orders.get(), mask, hashing);
  /* Again, for flows that have inherited an old connmark meanwhile, too late to be listed. */
  renew_all(orders.get(), mask, hashing);
}

}  // namespace nfqc
