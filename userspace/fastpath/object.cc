#include "fastpath/object.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace millrace::fastpath {

using base::Error;
using base::Result;

namespace {

constexpr size_t kLastSaidMax = 300;
thread_local std::string last_said;

int keep_libbpf_line(enum libbpf_print_level level, const char* format, va_list arguments) {
  char line[1024];
  const int size = vsnprintf(line, sizeof line, format, arguments);
  if (size <= 0) return 0;
  std::string_view text(line, std::min<size_t>(static_cast<size_t>(size), sizeof line - 1));
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (level == LIBBPF_WARN) last_said = text.substr(0, kLastSaidMax);
  MILLRACE_LOG(kDebug, "fastpath", "libbpf: {}", text);
  return 0;
}

bpf_map_info info_of_map(int fd) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  bpf_obj_get_info_by_fd(fd, &info, &size);
  return info;
}

bool same_layout(const bpf_map* map, const bpf_map_info& pinned) {
  return pinned.type == static_cast<uint32_t>(bpf_map__type(map)) && pinned.key_size == bpf_map__key_size(map) &&
         pinned.value_size == bpf_map__value_size(map) && pinned.max_entries == bpf_map__max_entries(map) &&
         pinned.map_flags == bpf_map__map_flags(map);
}

struct LinkInfo {
  bpf_link_info info{};
  explicit LinkInfo(int fd) {
    uint32_t size = sizeof info;
    bpf_obj_get_info_by_fd(fd, &info, &size);
  }
  uint64_t place() const {
    return info.type == BPF_LINK_TYPE_NETNS ? info.netns.netns_ino
           : info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : 0;
  }
};

// The pinned link of that name takes the new program if it is still attached where it should be.
Result<bool> update_pinned(const std::string& pin, const bpf_program* program, uint64_t place_id) {
  const Fd link(bpf_obj_get(pin.c_str()));
  if (!link) return false;
  if (LinkInfo(link.get()).place() == place_id &&
      bpf_link_update(link.get(), bpf_program__fd(program), nullptr) == 0) {
    return true;
  }
  if (unlink(pin.c_str()) != 0 && errno != ENOENT) return Error::from_errno(errno, "unpinning an old link");
  return false;
}

template <class Attach>
Result<void> attach(const PinDir& pins, const bpf_program* program, const Place& place, std::string_view link_name,
                    Attach make) {
  const std::string pin = pins.link_path(link_name);
  Result<bool> updated = update_pinned(pin, program, place.id);
  if (!updated) return updated.error();
  if (*updated) return {};
  bpf_link* link = make(program, place.fd);
  if (link == nullptr) {
    return bpf_failure(errno, fmt::format("attaching {} to {}", bpf_program__name(program), place.path));
  }
  const int error = bpf_link__pin(link, pin.c_str());
  bpf_link__destroy(link);  // the pin holds it now; without one this detaches it
  if (error != 0) return bpf_failure(-error, fmt::format("pinning {}", link_name));
  return {};
}

// "connect4" of "steer-connect4-1234".
std::string program_of(std::string_view link_name) {
  const size_t first = link_name.find('-'), last = link_name.rfind('-');
  return std::string(first < last ? link_name.substr(first + 1, last - first - 1) : link_name);
}

}  // namespace

void route_libbpf_log() {
  static const bool done = (libbpf_set_print(keep_libbpf_line), true);
  (void)done;
}

Error bpf_failure(int error, std::string_view doing) {
  Error out = Error::from_errno(error, doing);
  if (!last_said.empty()) out.what += "; " + std::exchange(last_said, {});
  return out;
}

Result<void> reconcile_pinned_maps(bpf_object* object) {
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    const char* pin = bpf_map__pin_path(map);
    if (pin == nullptr) continue;
    const Fd pinned(bpf_obj_get(pin));
    if (!pinned) {
      if (errno == ENOENT) continue;
      return Error::from_errno(errno, fmt::format("opening the pinned map {}", bpf_map__name(map)));
    }
    if (same_layout(map, info_of_map(pinned.get()))) continue;
    MILLRACE_LOG(kInfo, "fastpath", "the pinned map {} had another size or layout: it is replaced", bpf_map__name(map));
    if (unlink(pin) != 0) return Error::from_errno(errno, fmt::format("unpinning {}", bpf_map__name(map)));
  }
  return {};
}

Result<void> attach_cgroup(const PinDir& pins, const bpf_program* program, const Place& cgroup,
                           std::string_view link_name) {
  return attach(pins, program, cgroup, link_name, bpf_program__attach_cgroup);
}

Result<void> attach_netns(const PinDir& pins, const bpf_program* program, const Place& netns,
                          std::string_view link_name) {
  return attach(pins, program, netns, link_name, bpf_program__attach_netns);
}

std::vector<LinkState> link_states(const PinDir& pins) {
  std::vector<LinkState> out;
  for (const std::string& name : pins.links()) {
    const Fd fd(bpf_obj_get(pins.link_path(name).c_str()));
    if (!fd) continue;
    const LinkInfo link(fd.get());
    LinkState state{name, program_of(name), link.info.id, link.info.prog_id, link.place(),
                    link.info.type == BPF_LINK_TYPE_NETNS};
    out.push_back(std::move(state));
  }
  return out;
}

}  // namespace millrace::fastpath
