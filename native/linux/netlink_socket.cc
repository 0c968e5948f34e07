#include "netlink_socket.h"

#include <libmnl/libmnl.h>
#include <sys/socket.h>

#include "../core/byte_order.h"

namespace nfqc {

void CloseMnlSocket::operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }

int open_socket(MnlSocket& socket, int flags) noexcept {
  socket.reset(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | flags));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) return errno;
  return 0;
}

void enlarge_receive_buffer(const MnlSocket& socket, int bytes) noexcept {
  const int fd = mnl_socket_get_fd(socket.get());
  /* The first exceeds net.core.rmem_max but is refused in a user namespace. */
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
}

nlmsghdr* put_header(unsigned char* bytes, std::uint16_t type, unsigned flags, std::uint8_t family,
                     std::uint16_t resource) noexcept {
  nlmsghdr* message = mnl_nlmsg_put_header(bytes);
  message->nlmsg_type = type;
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* netfilter = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  netfilter->nfgen_family = family;
  netfilter->version = NFNETLINK_V0;
  netfilter->res_id = network_order(resource);
  return message;
}

}  // namespace nfqc
