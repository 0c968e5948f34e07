/* Any attributes of a connection: what is taken for one has an original direction, and a key. */
#include <cstdlib>

#include "core/conntrack.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t length) {
  nfqc::Connection connection;
  if (!nfqc::parse_connection(bytes, length, connection)) return 0;
  const bool keyed = connection.key().count == 1 || connection.key().count == 4;
  if (!connection.original.valid() || !keyed) std::abort();
  return 0;
}
