#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "descriptor.h"

namespace nfqc {

FileText read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return file ? read_file(file.get()) : FileText{"", errno};
}

FileText read_file(int fd) {
  FileText read;
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t length =
        ::pread(fd, block.data(), block.size(), static_cast<off_t>(read.text.size()));
    if (length == 0) return read;
    if (length > 0) {
      read.text.append(block.data(), static_cast<std::size_t>(length));
    } else if (errno != EINTR) {
      return {"", errno};
    }
  }
}

int write_file(const std::string& path, const std::string& text) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return errno;
  if (text.empty()) return 0;
  const ssize_t written = ::write(file.get(), text.data(), text.size());
  if (written < 0) return errno;
  return static_cast<std::size_t>(written) == text.size() ? 0 : EIO;
}

}  // namespace nfqc
