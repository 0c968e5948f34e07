#include "linux/conntrack_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "fixtures.h"

namespace nfqc {
namespace {

constexpr std::size_t kAll = ConntrackSocket::kQuestions;

/** What the kernel says of as many flows as one may ask for, which do not exist. */
struct Asked {
  int error = 0;
  std::size_t answered = 0;
};

Asked ask_for_none(ConntrackSocket& socket) {
  std::vector<Tuple> tuples;
  for (std::size_t i = 0; i < kAll; ++i) {
    tuples.push_back({test::key("192.0.2.1"), test::key("192.0.2.2"), IPPROTO_UDP,
                      static_cast<std::uint16_t>(i + 1), 9});
  }
  Asked asked;
  asked.error = socket.ask(tuples, [&](std::size_t, const Connection* connection) {
    if (connection == nullptr) ++asked.answered;
  });
  return asked;
}

/** The number that the next descriptor gets. */
int next_descriptor() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return fd;
}

void overrun_and_ask_again() {
  const int fd = next_descriptor();
  ConntrackSocket socket;
  const Asked before = ask_for_none(socket);
  EXPECT_EQ(before.error, 0);
  EXPECT_EQ(before.answered, kAll);
  int size = 1; /* the kernel makes it the least that it allows */
  ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
  const Asked overrun = ask_for_none(socket);
  EXPECT_EQ(overrun.error, ENOBUFS);
  EXPECT_GT(overrun.answered, 0U);
  EXPECT_LT(overrun.answered, kAll);
  size = 1 << 18;
  ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
  const Asked after = ask_for_none(socket);
  EXPECT_EQ(after.error, 0);
  EXPECT_EQ(after.answered, kAll);
}

TEST(ConntrackSocket, HearsAllAgainAfterItsBufferWasOverrun) {
  bool permitted = false;
  /* In a thread, which alone goes into the new network namespace. */
  std::thread([&permitted] {
    permitted = ::unshare(CLONE_NEWNET) == 0;
    if (permitted) overrun_and_ask_again();
  }).join();
  if (!permitted) GTEST_SKIP() << "needs root";
}

}  // namespace
}  // namespace nfqc
