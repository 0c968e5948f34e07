#include "queue_status.h"

#include <fcntl.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "files.h"

namespace nfqc {

QueueStatusFile::QueueStatusFile()
    : file_(::open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC)) {}

std::optional<QueueStatus> QueueStatusFile::read(std::uint16_t queue) const {
  if (!file_) return std::nullopt;
  const std::string text = read_file(file_.get()).text;
  const char* line = text.c_str();
  for (const char* end = nullptr; (end = std::strchr(line, '\n')) != nullptr; line = end + 1) {
    char* rest = nullptr;
    if (std::strtoul(line, &rest, 10) != queue) continue;
    QueueStatus status;
    /* queue, port id, held, copy mode, copy range, queue drops, user drops, id sequence, 1 */
    const int fields = std::sscanf(rest, "%*u %*u %*u %*u %" SCNu32 " %" SCNu32 " %" SCNu32,
                                   &status.queue_dropped, &status.user_dropped, &status.last_id);
    if (fields == 3) return status;
  }
  return std::nullopt;
}

}  // namespace nfqc
