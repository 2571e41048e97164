#include "server/privileges.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace millrace::server {
namespace {

// What a process of its own answers, since dropped capabilities do not come back.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(PrivilegesTest, KeepsWhatIsNamedAndDropsTheRest) {
  ASSERT_EQ(geteuid(), 0u) << "run the tests as root";
  EXPECT_EQ(in_child([] {
              if (!keep_only({CAP_NET_ADMIN}).ok()) return 1;
              if (fast_path_capabilities() != "CAP_NET_ADMIN") return 2;
              const int fd = socket(AF_INET, SOCK_STREAM, 0);
              const int mark = 7;  // needs CAP_NET_ADMIN
              if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) return 3;
              return chroot("/") == 0 ? 4 : 0;  // needs CAP_SYS_CHROOT
            }),
            0);
}

TEST(PrivilegesTest, DroppedOnceIsDroppedForGood) {
  EXPECT_EQ(in_child([] {
              if (!keep_only({}).ok() || !keep_only({CAP_NET_ADMIN}).ok()) return 1;
              return fast_path_capabilities() == "none" ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace millrace::server
