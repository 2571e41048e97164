#include "fastpath/probes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "fastpath/probe_path.h"
#include "fastpath/splice_kernels.h"

namespace millrace::fastpath {

using base::Result;

namespace {

constexpr SpliceOptions kProbeOptions{.budget_bytes = 64 * 1024, .bulk_bytes = 0, .pieces = {}};

// What a probe saw that should not be; nothing: all is well.
using Seen = std::optional<std::string>;

// Bytes that differ at every place, so that a lost, doubled or moved one shows.
std::string bytes_of(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (char& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

Seen transfer(ProbePath& path) {
  for (const size_t size : {size_t{1}, size_t{1000}, size_t{20000}, size_t{60000}}) {
    const std::string there = bytes_of(size, static_cast<uint32_t>(size)), back = bytes_of(size, 7);
    if (!probe_send(path.left(), there) || probe_receive(path.right(), size) != there) {
      return fmt::format("a message of {} bytes did not arrive as it was sent", size);
    }
    if (!probe_send(path.right(), back) || probe_receive(path.left(), size) != back) {
      return fmt::format("an answer of {} bytes did not arrive as it was sent", size);
    }
  }
  return std::nullopt;
}

// Over the budget into TCP, and out of it again: what comes when only the redirected bytes were read must wait.
Seen order(ProbePath& path) {
  for (uint32_t round = 0; round < 3; ++round) {
    const std::string all = bytes_of(150000, round);
    const std::string_view text(all);
    if (!probe_send(path.left(), text.substr(0, 60000)) || !probe_send(path.left(), text.substr(60000, 60000))) {
      return "a send failed";
    }
    std::string got = probe_receive(path.right(), 60000);
    if (!probe_send(path.left(), text.substr(120000)) || !path.relay(all.size())) return "a send failed";
    got += probe_receive(path.right(), all.size() - got.size());
    if (got != all) return "bytes were lost or out of order when the path changed";
  }
  return std::nullopt;
}

Seen half_close(ProbePath& path) {
  if (!probe_send(path.left(), "question") || shutdown(path.left(), SHUT_WR) != 0 || !path.pass_on_end()) {
    return "the end of the stream did not pass";
  }
  if (probe_receive(path.right(), 8) != "question") return "bytes before the end of the stream were lost";
  if (!probe_at_end(path.right())) return "the end of the stream did not come after the bytes";
  if (!probe_send(path.right(), "answer") || probe_receive(path.left(), 6) != "answer") {
    return "no answer came through the half-closed connection";
  }
  if (probe_send(path.left(), "more")) return "sending after shutdown did not fail";
  return std::nullopt;
}

Seen both_ends_shut(ProbePath& path) {
  if (!probe_send(path.left(), "last words")) return "a send failed";
  shutdown(path.right(), SHUT_WR);
  shutdown(path.left(), SHUT_WR);
  if (!path.pass_on_end()) return "the end of the stream did not pass";
  if (probe_receive(path.right(), 10) != "last words") return "unread bytes were lost when both ends had shut";
  return probe_at_end(path.right()) ? std::nullopt : Seen("no end of the stream");
}

Seen waiting_bytes(int fd, int wanted) {
  int waiting = -1;
  if (ioctl(fd, FIONREAD, &waiting) != 0) return "FIONREAD failed";
  if (waiting != wanted) return fmt::format("FIONREAD said {} where {} bytes were waiting", waiting, wanted);
  return std::nullopt;
}

Seen fionread(ProbePath& path) {
  if (Seen seen = waiting_bytes(path.right(), 0)) return seen;
  if (!probe_send(path.left(), "12345")) return "a send failed";
  if (Seen seen = waiting_bytes(path.right(), 5)) return seen;
  if (probe_receive(path.right(), 2) != "12") return "a read of two bytes failed";
  return waiting_bytes(path.right(), 3);
}

Seen peek(ProbePath& path) {
  if (!probe_send(path.left(), "12345")) return "a send failed";
  if (probe_receive(path.right(), 3, MSG_PEEK) != "123") return "MSG_PEEK did not show the bytes";
  return probe_receive(path.right(), 5) == "12345" ? std::nullopt : Seen("MSG_PEEK took bytes away");
}

Seen readiness(ProbePath& path) {
  pollfd look{path.right(), POLLIN, 0};
  if (poll(&look, 1, 0) != 0) return "poll saw bytes where none were";
  if (!probe_send(path.left(), "1")) return "a send failed";
  if (poll(&look, 1, 0) != 1) return "poll did not see the bytes";
  probe_receive(path.right(), 1);
  return poll(&look, 1, 0) == 0 ? std::nullopt : Seen("poll still saw bytes after they were read");
}

Seen slow_reader(ProbePath& path) {
  const std::string chunk(32 * 1024, 'x');
  constexpr uint64_t kFarTooMuch = uint64_t{64} << 20;
  uint64_t sent = 0;
  for (; sent < kFarTooMuch; sent += chunk.size()) {
    const ssize_t n = send(path.left(), chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN ? std::nullopt : Seen(fmt::format("send failed with errno {}", errno));
  }
  return fmt::format("{} bytes were taken for a reader that never reads", sent);
}

Seen send_file(ProbePath& path) {
  const Fd file(memfd_create("millrace-probe", MFD_CLOEXEC));
  const std::string text = bytes_of(10000, 3);
  const ssize_t written = write(file.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return "no memory file";
  off_t from = 0;
  if (sendfile(path.left(), file.get(), &from, text.size()) != static_cast<ssize_t>(text.size())) {
    return "sendfile did not send everything";
  }
  return probe_receive(path.right(), text.size()) == text ? std::nullopt : Seen("what sendfile sent was changed");
}

Seen reset(ProbePath& path) {
  if (!probe_send(path.left(), "12345")) return "a send failed";
  const linger at_once{1, 0};
  setsockopt(path.left(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  path.close_left();
  if (probe_receive(path.right(), 5) != "12345") return "bytes before a reset were lost";
  return std::nullopt;
}

// What no kernel is known to do. Nothing: this one does.

Seen splice_read(ProbePath& path) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) return "no pipe";
  const Fd out(pipe_ends[0]), in(pipe_ends[1]);
  if (!probe_send(path.left(), "12345")) return "a send failed";
  if (splice(path.right(), nullptr, in.get(), nullptr, 5, SPLICE_F_NONBLOCK) == 5) return std::nullopt;
  return "splice(2) does not see redirected bytes";
}

Seen truncate_read(ProbePath& path) {
  if (!probe_send(path.left(), "12345") || !probe_wait(path.right(), POLLIN)) return "a send failed";
  if (recv(path.right(), nullptr, 5, MSG_TRUNC | MSG_DONTWAIT) == 5) return std::nullopt;
  return "recv with MSG_TRUNC does not skip redirected bytes";
}

Seen urgent(ProbePath& path) {
  if (send(path.left(), "u", 1, MSG_OOB | MSG_NOSIGNAL) != 1) return "sending urgent data failed";
  probe_wait(path.right(), POLLIN | POLLPRI);
  char byte;
  if (recv(path.right(), &byte, 1, MSG_DONTWAIT) < 0) return std::nullopt;
  return "urgent data becomes part of the stream";
}

Seen close_over_unread(ProbePath& path) {
  if (!probe_send(path.right(), "12345")) return "a send failed";
  path.close_left();
  char byte;
  if (probe_wait(path.right(), POLLIN) && recv(path.right(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET) {
    return std::nullopt;
  }
  return "closing over unread redirected bytes ends the stream in order instead of resetting it";
}

struct NamedProbe {
  std::string_view name;
  Seen (*run)(ProbePath& path);
  bool redirects;  // the probe is worth nothing if no message was handed over
};

constexpr NamedProbe kProbes[] = {
    {"transfer", transfer, true},       {"order", order, true},
    {"half_close", half_close, true},   {"both_ends_shut", both_ends_shut, true},
    {"fionread", fionread, true},       {"peek", peek, true},
    {"readiness", readiness, true},     {"slow_reader", slow_reader, true},
    {"sendfile", send_file, true},      {"reset", reset, true},
};

constexpr NamedProbe kLimits[] = {
    {"splice_read", splice_read, true},
    {"truncate_read", truncate_read, true},
    {"urgent", urgent, true},
    {"close_over_unread", close_over_unread, true},
};

using MakePath = Result<ProbePath> (*)(ProbeGround& ground);

// On a path of its own.
Seen try_one(ProbeGround& ground, MakePath make, const NamedProbe& probe) {
  Result<ProbePath> path = make(ground);
  if (!path) return path.error().to_string();
  const uint64_t before = ground.redirected();
  Seen seen = probe.run(*path);
  if (!seen && probe.redirects && ground.redirected() == before) return "no message was handed over";
  return seen;
}

// All probes of one piece; whether it may be used.
bool try_piece(ProbeReport& report, ProbeGround& ground, std::string_view piece, MakePath make) {
  bool good = true;
  for (const NamedProbe& probe : kProbes) {
    const Seen seen = try_one(ground, make, probe);
    report.probes.push_back({fmt::format("{}.{}", piece, probe.name),
                             seen ? ProbeVerdict::kFailed : ProbeVerdict::kPassed, seen.value_or("")});
    good = good && !seen;
  }
  return good;
}

void try_limits(ProbeReport& report, ProbeGround& ground) {
  for (const NamedProbe& probe : kLimits) {
    const Seen seen = try_one(ground, ProbePath::hop, probe);
    report.probes.push_back({fmt::format("limit.{}", probe.name),
                             seen ? ProbeVerdict::kLimited : ProbeVerdict::kPassed, seen.value_or("")});
  }
}

void try_family(ProbeReport& report, std::string_view family, std::string_view loopback, bool& hop, bool& joined) {
  Result<std::unique_ptr<ProbeGround>> ground = ProbeGround::open(loopback, kProbeOptions);
  if (!ground) {
    for (const std::string_view kind : {"hop", "joined"}) {
      report.probes.push_back(
          {fmt::format("{}_{}", kind, family), ProbeVerdict::kSkipped, ground.error().to_string()});
    }
    return;
  }
  hop = try_piece(report, **ground, fmt::format("hop_{}", family), ProbePath::hop);
  joined = try_piece(report, **ground, fmt::format("joined_{}", family), ProbePath::joined);
  if (family == "v4") try_limits(report, **ground);
}

}  // namespace

std::string_view name(ProbeVerdict verdict) {
  switch (verdict) {
    case ProbeVerdict::kPassed: return "passed";
    case ProbeVerdict::kFailed: return "failed";
    case ProbeVerdict::kLimited: return "limited";
    case ProbeVerdict::kSkipped: return "skipped";
  }
  return "";
}

std::string ProbeReport::what_is_off() const {
  std::string out;
  for (const Probe& probe : probes) {
    if (probe.verdict != ProbeVerdict::kFailed && probe.verdict != ProbeVerdict::kSkipped) continue;
    if (!out.empty()) out += "; ";
    out += fmt::format("{} {}: {}", probe.name, name(probe.verdict), probe.sentence);
  }
  return out;
}

ProbeReport run_splice_probes() {
  ProbeReport report;
  utsname system{};
  uname(&system);
  if (const std::optional<std::string> refused = refused_kernel(system.release)) {
    report.probes.push_back({"kernel", ProbeVerdict::kFailed, *refused});
    return report;
  }
  try_family(report, "v4", "127.0.0.1", report.pieces.hop_v4, report.pieces.joined_v4);
  try_family(report, "v6", "::1", report.pieces.hop_v6, report.pieces.joined_v6);
  return report;
}

}  // namespace millrace::fastpath
