// The short-circuit of local connections: programs, and what is known of connections. Both ends of a connection to a
// listed service are noted when it is established; they become members, whose messages can be handed over, when a
// worker's SpliceOffers offers their connection (fastpath/splice_offers.h). The rule by which messages then choose
// their path, and why it keeps every byte in order, is in bpf/lib/splice_path.h; why so late, in bpf/README.md.
//
// Listing a service is the operator's word that its apps use plain send and recv: what the kernel does not bring to
// redirected bytes (probes.h tries it by name: splice(2), MSG_TRUNC, MSG_OOB) they must not use. Blocking sockets are
// recognised and left alone.
//
// Nothing is pinned. When the daemon goes, no further socket is noted, and a message whose daemon's end has closed
// passes to TCP. Main thread; the maps' descriptors serve any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fastpath/object.h"
#include "fastpath/splice_rule.h"
#include "fp_splice.h"
#include "net/address.h"

struct bpf_link;
struct splice_bpf;

namespace millrace::fastpath {

// What may be used, by what the probes said.
struct SplicePieces {
  bool hop_v4 = true, hop_v6 = true;
  bool joined_v4 = true, joined_v6 = true;
  bool any() const { return hop_v4 || hop_v6 || joined_v4 || joined_v6; }
};

struct SpliceOptions {
  // Unread bytes that a reader may have waiting outside of TCP. About what TCP itself lets wait (tcp_rmem: 6 MiB), and
  // enough for a reader that is not on a CPU for a while: a flow that was put back on TCP finds no way out of it while
  // it lasts, and is slower there than one that never left. Bulk in messages of 16 KiB after a dialogue, on a machine
  // with twenty processes for two CPUs: with 2 MiB 0.8 of a proxy's throughput, with 8 MiB 1.8.
  uint32_t budget_bytes = 8 * 1024 * 1024;
  // Bytes in one direction of a hop, without an answer, before TCP has them; 0: no limit. Passing to TCP costs a member
  // more than it costs other sockets, so a limit pays only where memory is short.
  uint32_t bulk_bytes = 0;
  SplicePieces pieces{};
  SpliceRule rule{};
  bool direct_reads = true;  // false: as on kernels before 6.2, for tests
};

struct SpliceCount {
  std::string_view name;  // "redirected_hop"
  std::string_view text;
  uint64_t messages = 0;
  uint64_t bytes = 0;
};

// One end of a noted connection, for status pages.
struct SpliceMember {
  uint64_t cookie = 0;
  uint64_t peer_cookie = 0;  // 0: unknown
  uint64_t far_cookie = 0;   // the app it is joined with; 0: none
  net::Address local, remote;
  bool active = false;       // it dialled
  bool offered = false;
  std::string_view path;     // why the last message went as it did; empty: there was none
  uint64_t hop_bytes = 0, joined_bytes = 0;
};

class Splice {
 public:
  // Loads the programs and switches the short-circuit on; nothing is attached to a cgroup yet.
  static base::Result<Splice> start(const SpliceOptions& options);
  Splice(Splice&&) noexcept;
  Splice& operator=(Splice&&) noexcept;
  // Detaches. Members stay members until they close, and pass everything.
  ~Splice();

  // Connections are noted if the sockets of both ends were made in this cgroup or below (accepted ones count as their
  // listener): the daemon's and the apps' have to be covered, so the root is the usual place.
  base::Result<void> attach(const Place& cgroup);
  // Replaces the list of addresses, in this process's network namespace, whose connections are noted. The address
  // is the one that clients dial; "any" stands for every address of this host.
  base::Result<void> set_services(const std::vector<net::Address>& services);
  // Off: every message passes, also of connections that were offered.
  void switch_on(bool on);

  const SpliceRule& rule() const { return rule_; }
  std::vector<SpliceCount> counts() const;
  std::vector<SpliceMember> members() const;

 private:
  friend class SpliceOffers;
  struct Detach {
    void operator()(bpf_link* link) const;
  };
  explicit Splice(Object<splice_bpf> object);
  base::Result<void> attach_verdict();

  std::unique_ptr<Object<splice_bpf>> object_;
  std::vector<std::unique_ptr<bpf_link, Detach>> links_;
  std::vector<fp_splice_service> services_;
  uint64_t netns_cookie_ = 0;
  SplicePieces pieces_;
  SpliceRule rule_;
};

}  // namespace millrace::fastpath
