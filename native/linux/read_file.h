#pragma once

#include <string>

namespace nfqc {

/** What is in a file or, with an errno, why that cannot be told: what was read in part counts for
 * nothing. */
struct FileText {
  std::string text;
  int error = 0;
};

[[nodiscard]] FileText read_file(const std::string& path);

/** Of an open file, from its start. */
[[nodiscard]] FileText read_file(int fd);

}  // namespace nfqc
