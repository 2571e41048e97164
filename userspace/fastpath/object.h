// Loading one BPF object (a generated skeleton) and putting its programs to work: the life cycle every part of the fast
// path goes through.
//
//   Result<Object<connect_bpf>> object = Object<connect_bpf>::open(&pins);
//   object->get()->rodata->settings = ...;              // settings are read-only data, set before load()
//   object->load();                                     // maps marked LIBBPF_PIN_BY_NAME are adopted or pinned
//   attach_cgroup(pins, object->get()->progs.connect4, cgroup, "steer-connect4-1234");
//
// A pinned map whose definition changed is replaced by a new one. attach_*() replace the program of the link that is
// pinned under that name, which is atomic, or make and pin a new link; the link then outlives the process. Main thread.
#pragma once
#include <bpf/libbpf.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fastpath/pin_dir.h"

namespace millrace::fastpath {

// Unpins the namesakes of the opened object's maps that have another type, size or flags.
base::Result<void> reconcile_pinned_maps(bpf_object* object);
// "loading <object>: <errno>; <last line that libbpf or the verifier said>". Reads what the calling thread provoked.
base::Error bpf_failure(int error, std::string_view doing);
// What libbpf says goes to the log at debug level and is kept for bpf_failure(). Idempotent.
void route_libbpf_log();

template <class Skeleton>
class Object {
 public:
  // Maps are pinned under `pins`; without pins (nullptr) nothing is pinned.
  static base::Result<Object> open(const PinDir* pins) {
    route_libbpf_log();
    const std::string root = pins == nullptr ? std::string() : pins->map_folder();
    LIBBPF_OPTS(bpf_object_open_opts, options);
    if (pins != nullptr) options.pin_root_path = root.c_str();
    Object out(Skeleton::open(&options));
    if (!out.skeleton_) return bpf_failure(errno, "opening a BPF object");
    if (pins == nullptr) out.forget_pins();
    return out;
  }

  base::Result<void> load() {
    if (base::Result<void> ready = reconcile_pinned_maps(skeleton_->obj); !ready) return ready;
    if (const int error = Skeleton::load(skeleton_.get()); error != 0) {
      return bpf_failure(-error, std::string("loading the BPF object ") + bpf_object__name(skeleton_->obj));
    }
    return {};
  }

  Skeleton* get() const { return skeleton_.get(); }
  Skeleton* operator->() const { return skeleton_.get(); }

 private:
  struct Destroy {
    void operator()(Skeleton* skeleton) const { Skeleton::destroy(skeleton); }
  };
  explicit Object(Skeleton* skeleton) : skeleton_(skeleton) {}
  void forget_pins() {
    bpf_map* map;
    bpf_object__for_each_map(map, skeleton_->obj) bpf_map__set_pin_path(map, nullptr);
  }

  std::unique_ptr<Skeleton, Destroy> skeleton_;
};

// Where a program is attached: the folder of a cgroup (v2), or a network namespace.
struct Place {
  int fd = -1;
  uint64_t id = 0;  // cgroup id or inode of the namespace
  std::string path;
};

base::Result<void> attach_cgroup(const PinDir& pins, const bpf_program* program, const Place& cgroup,
                                 std::string_view link_name);
base::Result<void> attach_netns(const PinDir& pins, const bpf_program* program, const Place& netns,
                                std::string_view link_name);

// What is pinned as a link, for status pages.
struct LinkState {
  std::string name;
  std::string program;
  uint32_t link_id = 0;
  uint32_t program_id = 0;
  uint64_t place_id = 0;  // cgroup id, inode of the namespace; 0: the place is gone
  bool netns = false;     // attached to a network namespace, not to a cgroup
};
std::vector<LinkState> link_states(const PinDir& pins);

}  // namespace millrace::fastpath
