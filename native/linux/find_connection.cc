#include "find_connection.h"

#include "conntrack_socket.h"
#include "expectation_socket.h"
#include "fault.h"
#include "netns.h"

namespace nfqc {
namespace {

std::optional<Connection> find_here(const Tuple& tuple) {
  std::optional<Connection> found;
  ConntrackSocket socket;
  const int error = socket.ask({&tuple, 1}, [&found](std::size_t, const Connection* connection) {
    if (connection != nullptr) found = *connection;
  });
  if (error != 0) throw Fault(FaultKind::kSystem, "sendto", error, "cannot ask for a connection");
  if (found) return found;
  list_expectations([&](const Expectation& expectation) {
    if (!expectation.matches(tuple)) return;
    found.emplace();
    found->master = expectation.master;
  });
  return found;
}

}  // namespace

std::optional<Connection> find_connection(const std::string& netns, const Tuple& tuple) {
  return in_netns(netns, [&tuple] { return find_here(tuple); });
}

}  // namespace nfqc
