// The pin folder, adoption of what an earlier process left, and refusal without privilege.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <unistd.h>

#include <thread>

#include "fastpath/cgroup.h"
#include "fastpath/object.h"
#include "fastpath/own_process.h"
#include "fastpath/pin_dir.h"
#include "fastpath/steering.h"
#include "fp_types.h"
#include "skel/own.skel.h"
#include "support.h"

namespace millrace::fastpath {
namespace {

using base::ErrorCode;
using testing::TestPins;

TEST(CgroupMount, IsFoundInMountinfo) {
  EXPECT_EQ(cgroup_mount_in("20 1 0:19 / /sys rw - sysfs sysfs rw\n"
                            "31 20 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n")
                .value(),
            "/sys/fs/cgroup/unified");
}

TEST(CgroupMount, UnescapesSpaces) {
  EXPECT_EQ(cgroup_mount_in("31 20 0:27 / /a\\040b rw - cgroup2 none rw\n").value(), "/a b");
}

TEST(CgroupMount, SaysThatThereIsNone) {
  EXPECT_EQ(cgroup_mount_in("31 20 0:27 / /c rw - cgroup cgroup rw,cpu\n").error().code, ErrorCode::kNotFound);
}

TEST(PinDir, RefusesAPathWithDots) {
  EXPECT_EQ(PinDir::open("/sys/fs/bpf/mill.race").error().code, ErrorCode::kInvalidArgument);
}

TEST(PinDir, IsHeldByOneDaemonAtATime) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  base::Result<PinDir> first = PinDir::open(pins.path());
  ASSERT_TRUE(first.ok()) << first.error().to_string();
  EXPECT_EQ(PinDir::open(pins.path()).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(detach(pins.path()).error().code, ErrorCode::kAlreadyExists);
}

TEST(PinDir, IsGivenUpToWhoAsksForIt) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  base::Result<PinDir> first = PinDir::open(pins.path());
  ASSERT_TRUE(first.ok()) << first.error().to_string();
  EXPECT_FALSE(first->wanted());
  base::Result<PinDir> second = base::Error{ErrorCode::kNotFound, base::Side::kInternal, 0, "not opened"};
  std::thread asks([&] { second = PinDir::open(pins.path(), Claim::kTakeOver); });
  while (!first->wanted()) std::this_thread::yield();
  EXPECT_TRUE(first->held());
  first->give_up();
  asks.join();
  ASSERT_TRUE(second.ok()) << second.error().to_string();
  EXPECT_FALSE(second->wanted());
  EXPECT_FALSE(first->wanted()) << "it has given up already";
  EXPECT_EQ(first->maps(), second->maps()) << "the way to the pins is still there";
}

TEST(PinDir, DetachLeavesNothing) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  {
    base::Result<PinDir> dir = PinDir::open(pins.path());
    ASSERT_TRUE(dir.ok());
    ASSERT_TRUE(OwnProcess::enter(*dir).ok());
    EXPECT_FALSE(dir->maps().empty());
  }
  ASSERT_TRUE(detach(pins.path()).ok());
  EXPECT_NE(access(pins.path().c_str(), F_OK), 0);
  EXPECT_TRUE(detach(pins.path()).ok());  // twice does no harm
}

uint32_t id_of_pinned_map(const std::string& path) {
  const Fd fd(bpf_obj_get(path.c_str()));
  bpf_map_info info{};
  uint32_t size = sizeof info;
  bpf_obj_get_info_by_fd(fd.get(), &info, &size);
  return info.id;
}

TEST(PinDir, AdoptsMapsOfTheSameVersionAndReplacesOthers) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  const std::string map = pins.path() + "/maps/fp_own_processes";
  const auto start = [&] {
    base::Result<PinDir> dir = PinDir::open(pins.path());
    ASSERT_TRUE(dir.ok());
    base::Result<OwnProcess> own = OwnProcess::enter(*dir);
    ASSERT_TRUE(own.ok()) << own.error().to_string();
  };
  start();
  const uint32_t first = id_of_pinned_map(map);
  ASSERT_NE(first, 0u);
  start();
  EXPECT_EQ(id_of_pinned_map(map), first);

  const Fd version(bpf_obj_get((pins.path() + "/maps/fp_version").c_str()));
  const uint32_t zero = 0, other = FP_ABI_VERSION + 1;
  ASSERT_EQ(bpf_map_update_elem(version.get(), &zero, &other, BPF_ANY), 0);
  start();
  EXPECT_NE(id_of_pinned_map(map), first);
}

TEST(PinDir, ReplacesAMapOfAnotherSize) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  base::Result<PinDir> dir = PinDir::open(pins.path());
  ASSERT_TRUE(dir.ok());
  const Fd odd(bpf_map_create(BPF_MAP_TYPE_HASH, "odd", 4, 4, 7, nullptr));
  ASSERT_EQ(bpf_obj_pin(odd.get(), dir->map_path("fp_own_processes").c_str()), 0);
  const uint32_t before = id_of_pinned_map(dir->map_path("fp_own_processes"));
  ASSERT_TRUE(OwnProcess::enter(*dir).ok());
  EXPECT_NE(id_of_pinned_map(dir->map_path("fp_own_processes")), before);
}

TEST(OwnProcess, IsWrittenDownAndTakenBack) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  base::Result<PinDir> dir = PinDir::open(pins.path());
  ASSERT_TRUE(dir.ok());
  const auto processes = [&] {
    const Fd map(bpf_obj_get(dir->map_path("fp_own_processes").c_str()));
    uint32_t key = 0, count = 0;
    for (const uint32_t* at = nullptr; bpf_map_get_next_key(map.get(), at, &key) == 0; at = &key) ++count;
    return count;
  };
  {
    base::Result<OwnProcess> own = OwnProcess::enter(*dir);
    ASSERT_TRUE(own.ok()) << own.error().to_string();
    EXPECT_EQ(processes(), 1u);
  }
  EXPECT_EQ(processes(), 0u);
}

TEST(OwnProcess, ForgetsCrashedDaemons) {
  MILLRACE_NEEDS_BPF();
  TestPins pins;
  EXPECT_EQ(testing::in_child(nullptr, [&]() -> std::string {
    base::Result<PinDir> dir = PinDir::open(pins.path());
    base::Result<OwnProcess> own = OwnProcess::enter(*dir);
    if (own.ok()) _exit(0);  // no destructor runs, as after kill -9
    return own.error().to_string();
  }), "");
  base::Result<PinDir> dir = PinDir::open(pins.path());
  ASSERT_TRUE(dir.ok());
  base::Result<OwnProcess> own = OwnProcess::enter(*dir);
  ASSERT_TRUE(own.ok());
  const Fd map(bpf_obj_get(dir->map_path("fp_own_processes").c_str()));
  uint32_t key = 0, second = 0;
  ASSERT_EQ(bpf_map_get_next_key(map.get(), nullptr, &key), 0);
  EXPECT_NE(bpf_map_get_next_key(map.get(), &key, &second), 0);
}

TEST(Steering, GoesOnAsNobodyWithThreeCapabilities) {
  MILLRACE_NEEDS_BPF();
  const testing::TestCgroup apps;
  const TestPins pins;
  EXPECT_EQ(testing::in_child(nullptr, [&]() -> std::string {
    Options options;
    options.pin_dir = pins.path();
    options.cgroups = {apps.path()};
    options.services.emplace();
    base::Result<std::unique_ptr<Steering>> steering = Steering::start(options);
    if (!steering) return steering.error().to_string();
    if (base::Result<void> given = (*steering)->pins().give_to(65534, 65534); !given) return given.error().to_string();
    if (!testing::become_nobody({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON})) return "become_nobody";
    const std::vector<Endpoint> endpoints{{testing::address("127.0.0.1", 1)}};
    const net::Address service = testing::address("192.0.2.1", 80);
    base::Result<void> done = (*steering)->services()->update(service, IPPROTO_TCP, endpoints);
    if (!done) return done.error().to_string();
    options.capture.emplace();
    options.capture->listener_v4 = testing::address("127.0.0.1", 1);
    done = (*steering)->apply(options);
    return done ? fmt::format("{} links", link_states((*steering)->pins()).size()) : done.error().to_string();
  }), "9 links");
}

TEST(Steering, SaysInOneSentenceThatTheKernelRefuses) {
  MILLRACE_NEEDS_BPF();
  const TestPins pins;
  const std::string said = testing::in_child(nullptr, [&]() -> std::string {
    Options options;
    options.pin_dir = pins.path();
    if (!testing::keep_capabilities({})) return "capset";  // still root, and so the owner of the pin folder
    base::Result<std::unique_ptr<Steering>> steering = Steering::start(options);
    return steering.ok() ? "started" : steering.error().to_string();
  });
  EXPECT_NE(said.find("BPF"), std::string::npos) << said;
  EXPECT_NE(said.find("not permitted"), std::string::npos) << said;
  EXPECT_EQ(said.find('\n'), std::string::npos) << said;
}

TEST(PinDir, RefusesNobodyInOneSentence) {
  MILLRACE_NEEDS_BPF();
  const std::string said = testing::in_child(nullptr, []() -> std::string {
    if (setgid(65534) != 0 || setuid(65534) != 0) return "setuid";
    base::Result<PinDir> dir = PinDir::open("/sys/fs/bpf/mr-test-nobody");
    return dir.ok() ? "opened" : dir.error().to_string();
  });
  EXPECT_NE(said.find("/sys/fs/bpf"), std::string::npos) << said;
  EXPECT_EQ(said.find('\n'), std::string::npos) << said;
}

}  // namespace
}  // namespace millrace::fastpath
