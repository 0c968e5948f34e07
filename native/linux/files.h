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

/**
 * Writes to a file that is there, such as a kernel parameter, by one call. An empty text is not
 * written: then it only tells whether the file can be opened for writing.
 * @return an errno; 0 if it worked
 */
[[nodiscard]] int write_file(const std::string& path, const std::string& text);

}  // namespace nfqc
